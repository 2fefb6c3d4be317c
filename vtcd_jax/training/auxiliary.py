"""Linear read-outs of true masks from a network's tokens, trained beside a task and dropped at its end.

They speed up the start of a training on clips of which the masks are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax


def token_shares(masks: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Masks [batch, time, height, width, kind] -> share of each token that they cover, [batch, t, h, w, kind]."""
    b, frames, height, width, kinds = masks.shape
    t, h, w = grid
    return masks.reshape(b, t, frames // t, h, height // h, w, width // w, kinds).mean((2, 4, 6), dtype=np.float32)


def mask_readouts(sites: Sequence[str], width: int, kinds: int) -> dict[str, jax.Array]:
    """Weights [width, kind] at each site, all 0."""
    return {site: jnp.zeros((width, kinds)) for site in sites}


def mask_loss(readouts: Mapping[str, jax.Array], values: Mapping[str, jax.Array], shares: jax.Array) -> jax.Array:
    """Binary cross-entropy of the read-outs with the tokens' shares [batch, t, h, w, kind], summed over sites.

    values: of each site, [batch, t, h, w, width].
    """
    losses = [optax.sigmoid_binary_cross_entropy(values[site] @ read, shares).mean() for site, read in readouts.items()]
    return sum(losses, jnp.zeros(()))
