"""Silhouettes: how much closer a tubelet lies to its own group than to the next one.

    s = (b - a) / max(a, b)    a  mean distance to the other members of its group
                               b  smallest mean distance to the members of another group

Rousseeuw (1987), "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", §2.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@partial(jax.jit, static_argnames="groups")
def silhouette_samples(
    X: Float[Array, "sample feature"], labels: Int[Array, "sample"], *, groups: int
) -> Float[Array, "sample"]:
    """Silhouette of every sample, in [-1, 1]; 0 for the only member of a group and for padding (label -1).

    groups: an upper bound of the labels plus one. nan for all when fewer than two groups have members.
    """
    real = labels >= 0
    centred = jnp.where(real[:, None], X - jnp.where(real[:, None], X, 0).sum(0) / jnp.maximum(real.sum(), 1), 0)
    member = jax.nn.one_hot(labels, groups, dtype=X.dtype)
    count = member.sum(0)
    totals = distances(centred) @ member  # [sample, group]
    own = jnp.take_along_axis(totals, jnp.maximum(labels, 0)[:, None], 1)[:, 0]
    own_count = count[jnp.maximum(labels, 0)]
    a = own / jnp.maximum(own_count - 1, 1)
    others = jnp.where((member > 0) | (count == 0), jnp.inf, totals / jnp.maximum(count, 1))
    b = others.min(1)
    values = (b - a) / jnp.maximum(jnp.maximum(a, b), jnp.finfo(X.dtype).tiny)
    values = jnp.where(real & (own_count > 1), values, 0.0)
    return jnp.where((count > 0).sum() > 1, values, jnp.nan)


def silhouette(X: Float[Array, "sample feature"], labels: Int[Array, "sample"], *, groups: int) -> Float[Array, ""]:
    """Mean silhouette over the real samples; nan when fewer than two groups have members."""
    return silhouette_samples(X, labels, groups=groups).sum() / jnp.maximum((labels >= 0).sum(), 1)


def distances(X: Float[Array, "sample feature"]) -> Float[Array, "sample sample"]:
    """Euclidean distances. From differences, row by row: the usual product formula loses close pairs in
    float32.
    """
    return jax.lax.map(lambda x: jnp.sqrt(((X - x) ** 2).sum(-1)), X, batch_size=16)


def mean_silhouettes(X: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    """float32 [head]: mean silhouette of each head's labels [head, sample] (-1 for padding); nan where
    undefined.
    """
    return np.asarray(_mean_silhouettes(X, labels, groups=groups))


@partial(jax.jit, static_argnames="groups")
def _mean_silhouettes(X: jax.Array, labels: jax.Array, *, groups: int) -> jax.Array:
    return jax.lax.map(lambda a: silhouette(a[0], a[1], groups=groups), (X, labels))
