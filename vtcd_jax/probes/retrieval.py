"""Nearest neighbours by cosine, in bounded memory, and their recall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.base.errors import InputError

from . import checks, heldout


@struct.dataclass
class Neighbours:
    """The gallery's samples nearest to each query, nearest first; ties by their order in the gallery.

    index: int32 [query, k]; -1 if the gallery has fewer samples.
    cosine: float [query, k]; minus infinity there.
    """

    index: jax.Array
    cosine: jax.Array


@struct.dataclass
class Recall:
    """Fraction of queries with a sample of their class among the nearest k.

    k: int [rank].   recall: float [rank].   interval: float [rank, 2], Wilson, 95 %.
    """

    k: jax.Array
    recall: jax.Array
    interval: jax.Array


def retrieve(
    queries: Any, gallery: Any, k: int = 20, *, groups: tuple[Any, Any] | None = None, chunk: int = 1024
) -> Neighbours:
    """The ``k`` samples of ``gallery`` [sample, feature] with the largest cosine to each of ``queries``.

    ``groups`` (of the queries, of the gallery: whole numbers of at least 0) leaves out samples of the query's group, as
    other clips of its video. ``chunk`` queries meet ``chunk`` samples at a time; the result does not depend on it.
    Raises InputError for a sample of zeros (it has no direction), NaN, and k beyond the gallery.
    """
    sides = [(name, checks.samples(name, X)) for name, X in (("queries", queries), ("gallery", gallery))]
    checks.same_features(sides[1], sides[0])
    Q, G = (_unit(name, X) for name, X in sides)
    if checks.whole("k", k, 1) > len(G):
        raise InputError(f"k={k}: the gallery holds {len(G)} samples; give a k of at most {len(G)}")
    chunk = checks.whole("chunk", chunk, 1)
    group_pair = [np.full(len(Q), -1), np.full(len(G), -2)]
    if groups is not None:
        group_pair = [checks.labels(f"groups of the {n}", g, len(X)) for (n, X), g in zip(sides, groups, strict=True)]
    chunks = [_nearest(Q[s], G, k, group_pair[0][s], group_pair[1], chunk) for s in _slices(len(Q), chunk)]
    return Neighbours(*(jnp.concatenate(arrays) for arrays in zip(*chunks, strict=True)))


def recall(
    neighbours: Neighbours, query_labels: Any, gallery_labels: Any, at: Sequence[int] = (1, 5, 10, 20)
) -> Recall:
    """Recall at each rank of ``at``, from labels (whole numbers) of the queries and of the gallery."""
    index = np.asarray(neighbours.index)
    wanted, y = checks.labels("query_labels", query_labels, len(index)), np.asarray(gallery_labels)
    y = checks.labels("gallery_labels", y, len(y))
    if index.max() >= len(y):
        raise InputError(f"gallery_labels: {len(y)} labels, but the neighbours refer to sample {index.max()}; give all")
    ranks = [checks.whole("at", k, 1) for k in at]
    if not ranks or max(ranks) > index.shape[1]:
        raise InputError(
            f"at={tuple(ranks)}: {index.shape[1]} neighbours were retrieved; retrieve more, or ask for less"
        )
    right = np.logical_or.accumulate((index >= 0) & (y[index] == wanted[:, None]), axis=1)
    correct = right[:, np.array(ranks) - 1].sum(axis=0)
    interval = heldout.wilson(correct, np.full(len(ranks), len(index)))
    return Recall(jnp.asarray(ranks), jnp.asarray(correct / len(index)), jnp.asarray(interval))


def knn(neighbours: Neighbours, gallery_labels: Any) -> np.ndarray:
    """int [query], the most frequent label among the neighbours; ties by the nearest."""
    index = np.asarray(neighbours.index)
    y = np.asarray(gallery_labels)
    y = checks.labels("gallery_labels", y, len(y))
    if index.max() >= len(y):
        raise InputError(f"gallery_labels: {len(y)} labels, but the neighbours refer to sample {index.max()}; give all")
    if (index[:, 0] < 0).any():
        raise InputError(f"neighbours: query {(index[:, 0] < 0).argmax()} has none; its group is the whole gallery")
    near = y[index]
    votes = ((near[:, :, None] == near[:, None, :]) & (index >= 0)[:, None, :]).sum(axis=2) * (index >= 0)
    return near[np.arange(len(near)), votes.argmax(axis=1)]


def _unit(name: str, X: np.ndarray) -> np.ndarray:
    """Samples of length 1, in the default float type."""
    X = X.astype(np.float64)
    largest = np.abs(X).max(axis=1, keepdims=True)
    if not largest.all():
        raise InputError(
            f"{name}: sample {(largest[:, 0] == 0).argmax()} is all zeros, so its cosine is undefined; leave it out"
        )
    X = X / largest
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(jnp.result_type(float))


def _slices(count: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]


def _nearest(
    Q: np.ndarray, G: np.ndarray, k: int, query_groups: np.ndarray, groups: np.ndarray, chunk: int
) -> tuple[jax.Array, jax.Array]:
    """Index and cosine [query, k] of the nearest, chunk by chunk of the gallery."""
    best = jnp.full((len(Q), k), -1, jnp.int32), jnp.full((len(Q), k), -jnp.inf, Q.dtype)
    for rows in _slices(len(G), chunk):
        best = _merge(best, Q, G[rows], query_groups, groups[rows], np.int32(rows.start), k)
    return best


@partial(jax.jit, static_argnames="k")
def _merge(
    best: tuple[jax.Array, jax.Array],
    Q: jax.Array,
    G: jax.Array,
    query_groups: jax.Array,
    groups: jax.Array,
    start: jax.Array,
    k: int,
) -> tuple[jax.Array, jax.Array]:
    cosine = jnp.matmul(Q, G.T, precision="highest")
    cosine = jnp.where(query_groups[:, None] == groups, -jnp.inf, cosine)
    index = jnp.broadcast_to(start + jnp.arange(len(G), dtype=jnp.int32), cosine.shape)
    both = jnp.concatenate([best[1], cosine], axis=1)
    value, position = jax.lax.top_k(both, k)
    chosen = jnp.take_along_axis(jnp.concatenate([best[0], index], axis=1), position, axis=1)
    return jnp.where(value > -jnp.inf, chosen, -1), value
