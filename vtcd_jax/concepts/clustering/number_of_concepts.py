"""How many concepts a head gets.

    objective(k)   mean squared distance of k-means with k clusters (released rule)
    silhouette(k)  mean silhouette of that clustering (the paper's measure)

The rules are plain functions of these curves; ``choose_numbers`` computes the curves of several heads at once.
Kowal et al. (2024), §4.1, and its released code.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ..settings import ElbowRule
from .kmeans import kmeans
from .silhouettes import silhouette


def released_number(objective: np.ndarray, threshold: float = 0.95, take: str = "after") -> int | None:
    """The first k >= 2 with objective(k) > threshold · objective(k - 1), or None while there is none.

    objective: of k = 1, 2, …   take: "after" returns that k as the released code does, "before" k - 1.
    """
    for k in range(2, len(objective) + 1):
        if objective[k - 1] > threshold * objective[k - 2]:
            return k if take == "after" else k - 1
    return None


def paper_number(silhouettes: np.ndarray, threshold: float = 0.9) -> int:
    """The smallest k >= 2 whose silhouette reaches ``threshold`` times the best one.

    silhouettes: of k = 1, 2, …; the first is not used. The paper names the measure and the threshold but no
                 formula: this
    is our reading. Where no silhouette is above 0, the k of the largest one; 1 when only k = 1 was tried.
    """
    values = np.nan_to_num(np.asarray(silhouettes, float)[1:], nan=-1.0)
    if not len(values):
        return 1
    best = values.max()
    return int(np.flatnonzero(values >= (threshold * best if best > 0 else best))[0]) + 2


def choose_numbers(
    X: Float[Array | np.ndarray, "head sample feature"],
    mask: Bool[np.ndarray, "head sample"],
    keys: Key[Array, "head"],
    rule: ElbowRule,
    *,
    restarts: int = 10,
    kmeans_steps: int = 300,
    drawn: int | None = None,
) -> tuple[Int[np.ndarray, "head"], Int[np.ndarray, "head sample"]]:
    """Number of concepts of every head, and the k-means labels at that number (-1 for padding).

    k grows until every head has stopped, or reached min(rule.maximum, its samples) - 1 (at least 1).
    drawn: see ``kmeans``.
    """
    samples = mask.sum(1)
    limits = np.maximum(np.minimum(rule.maximum, samples) - 1, 1)
    if rule.rule == "fixed":
        numbers = np.minimum(rule.number, samples)
        labels, _, _ = cluster_heads(X, numbers, keys, mask, rule, restarts, kmeans_steps, drawn)
        return numbers.astype(np.int32), labels
    found = []  # per k: labels [head, sample], objective [head], silhouette [head]
    for k in range(1, int(limits.max()) + 1):
        found.append(cluster_heads(X, np.minimum(k, limits), keys, mask, rule, restarts, kmeans_steps, drawn))
        if rule.rule == "released" and _all_stopped(np.stack([f[1] for f in found]), limits, rule):
            break
    labels, objectives, silhouettes = (np.stack(curve) for curve in zip(*found, strict=True))
    numbers = np.empty(len(limits), np.int32)
    for h, limit in enumerate(limits):
        if rule.rule == "paper":
            numbers[h] = paper_number(silhouettes[:limit, h], rule.level)
        else:
            numbers[h] = released_number(objectives[:limit, h], rule.level, rule.take) or limit
    return numbers, labels[numbers - 1, np.arange(len(numbers))]


def _all_stopped(objectives: np.ndarray, limits: np.ndarray, rule: ElbowRule) -> bool:
    """Has every head met the released rule, or its limit, in objectives [k, head]?"""
    return all(
        len(objectives) >= limit or released_number(objectives[:, h], rule.level) is not None
        for h, limit in enumerate(limits)
    )


def head_keys(key: Array, heads: int) -> Key[Array, "head"]:
    """A key for every head of a site."""
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(heads))


def cluster_heads(
    X: Array | np.ndarray,
    numbers: np.ndarray,
    keys: Key[Array, "head"],
    mask: np.ndarray,
    rule: ElbowRule,
    restarts: int,
    steps: int,
    drawn: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [head, sample], objective [head] and silhouette [head] of k-means with ``numbers`` clusters per head."""
    found = _clustered(
        X,
        np.asarray(numbers, np.int32),
        keys,
        mask,
        np.int32(X.shape[1] if drawn is None else drawn),
        maximum=rule.largest,
        restarts=restarts,
        max_steps=steps,
        silhouettes=rule.rule == "paper",
    )
    labels, objective, silhouettes = (np.asarray(a) for a in found)
    return labels, objective, silhouettes


@partial(jax.jit, static_argnames=("maximum", "restarts", "max_steps", "silhouettes"))
def _clustered(
    X: Array,
    k: Array,
    keys: Array,
    mask: Array,
    drawn: Array,
    *,
    maximum: int,
    restarts: int,
    max_steps: int,
    silhouettes: bool,
) -> tuple[Array, Array, Array]:
    one = partial(kmeans, drawn=drawn, maximum=maximum, restarts=restarts, max_steps=max_steps)
    fit = jax.vmap(one)(X, k, keys, mask)
    if not silhouettes:
        return fit.labels, fit.objective, jnp.full(len(X), jnp.nan)
    width = jax.lax.map(lambda a: silhouette(a[0], a[1], groups=maximum), (X, fit.labels))
    return fit.labels, fit.objective, width
