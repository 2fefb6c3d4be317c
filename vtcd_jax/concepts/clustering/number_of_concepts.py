"""How many concepts a head gets: the curves over k that a rule needs (``rules``), of several heads at once."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ..settings import ElbowRule
from .halves import Halves, curves_of_halves
from .kmeans import kmeans
from .rules import held_out_number, knee_number, paper_number, released_number, strength_number
from .silhouettes import silhouette


def choose_numbers(
    X: Float[Array | np.ndarray, "head sample feature"],
    mask: Bool[np.ndarray, "head sample"],
    keys: Key[Array, "head"],
    rule: ElbowRule,
    *,
    restarts: int = 10,
    kmeans_steps: int = 300,
    drawn: int | None = None,
    groups: Int[np.ndarray, "head sample"] | None = None,
) -> tuple[Int[np.ndarray, "head"], Int[np.ndarray, "head sample"]]:
    """Number of concepts of every head, and the k-means labels at that number (-1 for padding).

    k grows until every head has stopped, or reached min(rule.maximum, its samples) - 1 (at least 1).
    drawn:  see ``kmeans``.
    groups: what rules that compare halves keep together, the clip of each sample; None: nothing.
    """
    samples = mask.sum(1)
    limits = np.maximum(np.minimum(rule.maximum, samples) - 1, 1)
    if rule.rule == "fixed":
        numbers = np.minimum(rule.number, samples)
        labels, _, _ = cluster_heads(X, numbers, keys, mask, rule, restarts, kmeans_steps, drawn)
        return numbers.astype(np.int32), labels
    if rule.rule in ("prediction", "held-out"):
        kept = np.broadcast_to(np.arange(mask.shape[1]), mask.shape) if groups is None else groups

        def cluster(numbers: np.ndarray, part: np.ndarray) -> np.ndarray:
            return cluster_heads(X, numbers, keys, part, rule, restarts, kmeans_steps, drawn)[0]

        halves = curves_of_halves(np.asarray(X), mask, kept, limits, keys, cluster)
        numbers = _by_halves(halves, limits, rule)
        return numbers, cluster(numbers, mask)
    found = []  # per k: labels [head, sample], objective [head], silhouette [head]
    for k in range(1, int(limits.max()) + 1):
        found.append(cluster_heads(X, np.minimum(k, limits), keys, mask, rule, restarts, kmeans_steps, drawn))
        if rule.rule in ("auto", "released") and _all_stopped(np.stack([f[1] for f in found]), limits, rule):
            break
    labels, objectives, silhouettes = (np.stack(curve) for curve in zip(*found, strict=True))
    numbers = np.empty(len(limits), np.int32)
    for h, limit in enumerate(limits):
        if rule.rule == "paper":
            numbers[h] = paper_number(silhouettes[:limit, h], rule.level)
        elif rule.rule == "knee":
            numbers[h] = knee_number(objectives[:limit, h])
        else:
            numbers[h] = released_number(objectives[:limit, h], rule.level, rule.take) or limit
    return numbers, labels[numbers - 1, np.arange(len(numbers))]


def _by_halves(halves: Halves, limits: np.ndarray, rule: ElbowRule) -> np.ndarray:
    """int32 [head]."""
    if rule.rule == "prediction":
        found = [strength_number(halves.strength[:limit, h], rule.level) for h, limit in enumerate(limits)]
    else:
        found = [held_out_number(halves.explained[:limit, h], rule.level) for h, limit in enumerate(limits)]
    return np.array(found, np.int32)


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
