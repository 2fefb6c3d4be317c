"""Auxiliary linear heads that predict true masks from a network's tokens, trained with a task and dropped at its end.

They speed up the start of a training on clips with known masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax


def token_fractions(masks: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Masks [batch, time, height, width, kind] -> fraction of each token that they cover, [batch, t, h, w, kind]."""
    b, frames, height, width, kinds = masks.shape
    t, h, w = grid
    return masks.reshape(b, t, frames // t, h, height // h, w, width // w, kinds).mean((2, 4, 6), dtype=np.float32)


def mask_heads(sites: Sequence[str], width: int, kinds: int) -> dict[str, jax.Array]:
    """Weights [width, kind] at each site, all 0."""
    return {site: jnp.zeros((width, kinds)) for site in sites}


def mask_loss(heads: Mapping[str, jax.Array], values: Mapping[str, jax.Array], fractions: jax.Array) -> jax.Array:
    """Binary cross-entropy of the heads with the tokens' fractions [batch, t, h, w, kind], summed over sites.

    values: of each site, [batch, t, h, w, width].
    """
    losses = [optax.sigmoid_binary_cross_entropy(values[site] @ head, fractions).mean() for site, head in heads.items()]
    return sum(losses, jnp.zeros(()))
