"""Would the concepts be found again, with another seed, or on other clips of the same kind?

    S_c   tubelets of concept c of a head          T_j   tubelets of concept j of the same head in a second fit
    J(c, j) = |S_c ∩ T_j| / |S_c ∪ T_j|            over the tubelets that both fits saw
    stability of c = J(c, m(c)), m the one-to-one matching with the largest sum of J (Kuhn 1955), averaged over fits

1: the same group every time; a head's concepts dealt at random get about 1 / (2 k - 1) for k of equal size. The number
of concepts is that of the first fit. Kuhn (1955), "The Hungarian Method for the Assignment Problem".
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from .config import NmfConfig
from .dictionaries import fit_heads, memberships
from .number import cluster_heads
from .segment import padded_features, padded_rows, widest
from .types import Concepts, Tubelets


class Stability(NamedTuple):
    """seeds, clips: float32 [concept], over fits with other seeds, and over fits to random halves of the clips; nan
    where nothing was fitted again.
    """

    seeds: np.ndarray
    clips: np.ndarray


def stability(concepts: Concepts, nmf: NmfConfig, key: jax.Array, *, fits: int = 2) -> Stability:
    """Fits the dictionaries of all heads again: ``fits`` times with other seeds, and as often to half of the clips
    (with fewer than four clips not at all). nmf: the settings of discovery.
    """
    every, halves = np.ones(len(concepts.tubelets), bool), []
    seeds = [_agreement(concepts, every, nmf, k) for k in _keys(key, 0, fits)]
    for k in _keys(key, 1, fits if concepts.videos >= 4 else 0):
        chosen = np.asarray(jax.random.permutation(k, concepts.videos))[: concepts.videos // 2]
        halves.append(_agreement(concepts, np.isin(concepts.tubelets.video, chosen), nmf, k))
    seeds, halves = (np.stack(found) if found else np.full((1, len(concepts)), np.nan) for found in (seeds, halves))
    return Stability(_mean(seeds), _mean(halves))


def _mean(found: np.ndarray) -> np.ndarray:
    """float32 [concept]: over the fits [fit, concept] that have a value."""
    known = ~np.isnan(found)
    return np.where(known.any(0), np.where(known, found, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan).astype(
        np.float32
    )


def _keys(key: jax.Array, kind: int, count: int) -> list[jax.Array]:
    return [jax.random.fold_in(jax.random.fold_in(key, kind), i) for i in range(count)]


def _agreement(concepts: Concepts, seen: np.ndarray, nmf: NmfConfig, key: jax.Array) -> np.ndarray:
    """float [concept]: J of every concept with its match in a second fit to the tubelets ``seen``; nan where these have
    none of it."""
    part = _select(concepts.tubelets, seen)
    first, found = concepts.assignment[seen], np.zeros(len(concepts))
    for s, name in enumerate(concepts.sites):
        heads = int(concepts.head[concepts.site == s].max()) + 1
        own = [np.flatnonzero((concepts.site == s) & (concepts.head == h)) for h in range(heads)]
        rows = padded_rows(part, s, heads, -(-widest(part) // 64) * 64)  # few shapes, few programs
        numbers = np.minimum([len(ids) for ids in own], (rows >= 0).sum(1)).astype(np.int32)
        own_key = jax.random.fold_in(key, zlib.crc32(name.encode()))
        second = _fit(part, rows, np.maximum(numbers, 1), int(concepts.number.max()), nmf, own_key)
        for h, ids in enumerate(own):
            real = rows[h] >= 0
            before = first[rows[h][real]] - ids[0]  # the concepts of a head are numbered through
            found[ids] = matched(before, second[h][real], len(ids))
    return np.where(np.bincount(first, minlength=len(concepts)) > 0, found, np.nan)


def _select(tubelets: Tubelets, seen: np.ndarray) -> Tubelets:
    return Tubelets(*(getattr(tubelets, name)[seen] for name in ("site", "head", "video", "label", "size", "feature")))


def _fit(
    tubelets: Tubelets, rows: np.ndarray, numbers: np.ndarray, most: int, nmf: NmfConfig, key: jax.Array
) -> np.ndarray:
    """int [head, sample]: concept of every tubelet, by a fit from its own start."""
    X = padded_features(tubelets, rows)
    labels, _, _ = cluster_heads(X, numbers, key, rows >= 0, nmf.elbow, nmf.restarts, nmf.kmeans_steps)
    fit = fit_heads(
        X, labels, numbers, method=nmf.method, concepts=most, max_steps=nmf.max_steps, tol=nmf.tol,
        active=nmf.active, form=nmf.form,
    )  # fmt: skip
    return np.asarray(memberships(fit, nmf.method, nmf.assignment)).argmax(-1)


def matched(
    first: Int[np.ndarray, "sample"], second: Int[np.ndarray, "sample"], groups: int
) -> Float[np.ndarray, "group"]:
    """J of each of ``groups`` groups of the first labels with its match among those of the second; 0 without
    members.
    """
    from scipy.optimize import linear_sum_assignment

    a, b = (labels[:, None] == np.arange(max(groups, int(labels.max(initial=0)) + 1)) for labels in (first, second))
    both = a.T.astype(float) @ b
    either = a.sum(0)[:, None] + b.sum(0) - both
    jaccard = both / np.maximum(either, 1)
    rows, columns = linear_sum_assignment(jaccard, maximize=True)
    found = np.zeros(len(jaccard))
    found[rows] = jaccard[rows, columns]
    return found[:groups]
