"""k-means as a dictionary: a sample is its cluster's centre.

    X [sample feature]   H [concept sample] one-hot   G [sample concept] = Hᵀ / size   W = Gᵀ X, the centres

Lloyd's steps from labels (those of k-means++ with restarts: ``kmeans``) until no label changes.
Lloyd (1982), "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28(2).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .convex_nmf import Factorization
from .iterate import descend, relative


class _State(NamedTuple):
    centres: jax.Array
    labels: jax.Array


def k_means(
    X: Float[Array, "sample feature"],
    labels: Int[Array, "sample"],
    used: Int[Array, ""],
    *,
    concepts: int,
    max_steps: int,
) -> Factorization:
    """From cluster labels (-1 for padding, zero rows of X); concepts from ``used`` on are zero. Pure.

    A concept without samples starts at one of the samples that lie farthest from their centres. One that stays empty
    (fewer distinct samples than concepts) keeps its place; its weights and codes are zero.
    """
    mask, real = labels >= 0, jnp.arange(concepts) < used
    with jax.default_matmul_precision("highest"):

        def step(s: _State) -> _State:
            centres = _means(X, s.labels, s.centres)
            return _State(centres, jnp.where(mask, nearest(X, centres, real), -1))

        end = descend(
            step,
            lambda s: relative(jnp.where(mask[:, None], X - s.centres[s.labels], 0), X),
            _State(_first_centres(X, labels, real), labels),
            0.0,
            max_steps=max_steps,
            settled=lambda before, after: (before.labels == after.labels).all(),
        )
        member = jax.nn.one_hot(end.state.labels, concepts, dtype=X.dtype)
        weights = member / jnp.maximum(member.sum(0), 1)
        centres = jnp.where(real[:, None], end.state.centres, 0)
        return Factorization(weights, member.T, centres, end.error, end.converged, end.steps)


def nearest(
    X: Float[Array, "sample feature"], centres: Float[Array, "concept feature"], real: Bool[Array, "concept"]
) -> Int[Array, "sample"]:
    """Index of the nearest of the ``real`` centres; the first of several."""
    mean = (centres * real[:, None]).sum(0) / jnp.maximum(real.sum(), 1)  # small numbers keep float32 distances exact
    moved = centres - mean
    distance = (moved**2).sum(1) - 2 * (X - mean) @ moved.T  # the sample's own square changes no order
    return jnp.argmin(jnp.where(real, distance, jnp.inf), axis=1).astype(jnp.int32)


def _means(X: Array, labels: Array, otherwise: Array) -> Array:
    """Mean of each cluster; empty ones keep their row of ``otherwise``."""
    member = jax.nn.one_hot(labels, len(otherwise), dtype=X.dtype)
    count = member.sum(0)[:, None]
    return jnp.where(count > 0, member.T @ X / jnp.maximum(count, 1), otherwise)


def _first_centres(X: Array, labels: Array, real: Array) -> Array:
    zero = jnp.zeros((len(real), X.shape[1]), X.dtype)
    centres = _means(X, labels, zero)
    distance = jnp.where(labels >= 0, ((X - centres[labels]) ** 2).sum(1), -1)
    empty = real & (jax.nn.one_hot(labels, len(real)).sum(0) == 0)
    farthest = X[jnp.argsort(-distance)[jnp.clip(jnp.cumsum(empty) - 1, 0, len(X) - 1)]]
    return jnp.where(empty[:, None], farthest, centres)
