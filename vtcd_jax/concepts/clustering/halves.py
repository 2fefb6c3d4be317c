"""Curves over k of what k-means finds on one half of the clips and what of it holds on the other.

    centres fitted on half A, half B clustered on its own

    strength(k)    the least, over clusters of B with two members or more, share of its pairs that lie in one cluster of
                   A's centres (Tibshirani & Walther 2005, equation 2.1)
    explained(k)   1 - Σ |x - nearest centre of A|² / Σ |x - mean of A|², over the samples x of B

Both are means over ``SPLITS`` random halves, each taken both ways. nan where a half has fewer samples than clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

SPLITS = 3
Clusterer = Callable[[np.ndarray, Bool[np.ndarray, "head sample"]], Int[np.ndarray, "head sample"]]
"""(k [head], which samples) -> their labels, -1 elsewhere."""


class Halves(NamedTuple):
    """strength, explained: float64 [k, head] for k = 1, 2, …"""

    strength: np.ndarray
    explained: np.ndarray


def curves_of_halves(
    X: Float[np.ndarray, "head sample feature"],
    mask: Bool[np.ndarray, "head sample"],
    groups: Int[np.ndarray, "head sample"],
    limits: Int[np.ndarray, "head"],
    keys: Key[Array, "head"],
    cluster: Clusterer,
) -> Halves:
    """For k up to the largest of ``limits``. groups: samples of a group, a clip, stay in one half. keys: each head
    has halves of its own, so that its curves do not depend on the others."""
    largest = int(limits.max())
    found = np.full((2, 2 * SPLITS, largest, len(X)), np.nan)
    draws = [np.random.default_rng(seed) for seed in np.asarray(jax.random.key_data(keys)).tolist()]
    for split in range(SPLITS):
        first = np.stack([_half(*head) for head in zip(groups, mask, draws, strict=True)])
        for k in range(1, largest + 1):
            numbers = np.minimum(k, limits)
            labels = [cluster(numbers, half) for half in (first, mask & ~first)]
            for way, (a, b) in enumerate((labels, labels[::-1])):
                for head in np.flatnonzero(k <= limits):
                    found[:, 2 * split + way, k - 1, head] = _compared(X[head], a[head], b[head], k)
    known = ~np.isnan(found)
    mean = np.where(known, found, 0).sum(1) / np.maximum(known.sum(1), 1)
    return Halves(*np.where(known.any(1), mean, np.nan))


def _half(groups: np.ndarray, mask: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """bool [sample]: those of a head whose group lies in a random half of all groups."""
    known = np.unique(groups[mask])
    return mask & np.isin(groups, draw.permutation(known)[: (len(known) + 1) // 2])


def _compared(X: np.ndarray, first: np.ndarray, second: np.ndarray, k: int) -> tuple[float, float]:
    """(strength, explained) of one head. first, second: labels in the halves, -1 elsewhere."""
    if min((first >= 0).sum(), (second >= 0).sum()) < k:
        return np.nan, np.nan
    used = np.unique(first[first >= 0])
    centres = np.stack([X[first == c].mean(0, dtype=np.float64) for c in used])
    other = X[second >= 0].astype(np.float64)
    apart = ((other[:, None] - centres) ** 2).sum(-1)
    total = ((other - X[first >= 0].mean(0, dtype=np.float64)) ** 2).sum()
    explained = 1 - apart.min(1).sum() / total if total > 0 else np.nan
    return strength(second[second >= 0], apart.argmin(1)), explained


def strength(own: Int[np.ndarray, "sample"], other: Int[np.ndarray, "sample"]) -> float:
    """Share of the pairs of a cluster of ``own`` that ``other`` keeps together, of the cluster that loses most; 1
    without clusters of two."""
    table = np.zeros((own.max() + 1, other.max() + 1))
    np.add.at(table, (own, other), 1)
    size = table.sum(1)
    several = size > 1
    shares = (table * (table - 1)).sum(1)[several] / (size * (size - 1))[several]
    return float(shares.min(initial=1.0))
