"""Would the concepts be found again, with another seed, or on other clips of the same kind?

    S_c   tubelets of concept c of a head          T_j   tubelets of concept j of the same head in a second fit
    J(c, j) = |S_c ∩ T_j| / |S_c ∪ T_j|            over the tubelets that both fits saw
    stability of c = J(c, m(c)), m the one-to-one matching with the largest sum of J (Kuhn 1955), averaged over fits

1: the same group every time; a head's concepts grouped at random get about 1 / (2 k - 1) for k of equal size. The
number of concepts is that of the first fit. Two sets of random centres (``controls``) group alike, too, as far as the
features lie in clusters; the mean J of such pairs stands beside the concepts of a head as what learning nothing gives.
Kuhn (1955), "The Hungarian Method for the Assignment Problem".
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import permutation
from vtcd_jax.runs import Step, Work
from vtcd_jax.runs.blocks import Arrays

from ..cache import each_head, site_name
from ..clustering.number_of_concepts import cluster_heads, head_keys
from ..dictionaries import fit_heads, memberships
from ..proposals import padded_concepts, padded_features, padded_rows, padded_samples, widest
from ..settings import NmfConfig
from ..types import Concepts, Tubelets
from .controls import heads, nearest_centre, random_centres


class Stability(NamedTuple):
    """seeds, clips: float32 [concept], over fits with other seeds, and over fits to random halves of the clips; nan
    where nothing was fitted again.
    centres: float32 [concept], the mean of its head over pairs of random centres; nan without fits.
    """

    seeds: np.ndarray
    clips: np.ndarray
    centres: np.ndarray


STABILITY = Step("stability", "stability", "layer")


def stability(
    concepts: Concepts,
    nmf: NmfConfig,
    key: jax.Array,
    *,
    fits: int = 2,
    work: Work = Work(),
    question: str | None = None,
) -> Stability:
    """Fits the dictionaries of all heads again: ``fits`` times with other seeds, and as often to half of the clips
    (with fewer than four clips not at all). nmf: the settings of discovery; work: as there.
    question: in the names of the blocks that are kept: a hash of all that they depend on.
    Raises InputError for concepts of tokens and for a hierarchy, which ``discover`` makes after this.
    """
    if concepts.centres is not None or concepts.parent is not None:
        raise InputError("stability is that of tubelets without a hierarchy; `discover` has already measured it")
    every = np.ones(len(concepts.tubelets), bool)
    again = [_refit(concepts, every, k) for k in _keys(key, 0, fits)]
    for k in _keys(key, 1, fits if concepts.videos >= 4 else 0):
        chosen = permutation(k, concepts.videos)[: concepts.videos // 2]
        again.append(_refit(concepts, np.isin(concepts.tubelets.video, chosen), k))
    found = np.full((len(again), len(concepts)), np.nan)
    for s, name in enumerate(concepts.sites):
        work.progress(STABILITY, s, len(concepts.sites))
        heads = int(concepts.head[concepts.site == s].max()) + 1
        own = [np.flatnonzero((concepts.site == s) & (concepts.head == h)) for h in range(heads)]

        def make(which: list[int], s: int = s, own: list[np.ndarray] = own) -> list[Arrays]:
            parts = [_agreement(concepts, s, own, which, refit, nmf) for refit in again]  # fit, head -> [concept]
            return [{"agreement": np.stack(head)} for head in zip(*parts, strict=True)]

        for ids, head in zip(own, each_head(work, f"stability/{question}-{site_name(name)}", heads, make), strict=True):
            found[:, ids] = head["agreement"]
    work.progress(STABILITY, len(concepts.sites), len(concepts.sites))
    return Stability(_mean(found[:fits]), _mean(found[fits:]), _of_random_centres(concepts, _keys(key, 2, fits)))


def _of_random_centres(concepts: Concepts, keys: Sequence[jax.Array]) -> np.ndarray:
    """float32 [concept]: the mean J of a head between two sets of random centres, as many as it has concepts."""
    found = np.full((len(keys), len(concepts)), np.nan)
    for row, key in zip(found, keys, strict=True):
        one, two = (nearest_centre(concepts, random_centres(concepts, k)) for k in jax.random.split(key))
        for site, head, own in heads(concepts):
            rows = (concepts.tubelets.site == site) & (concepts.tubelets.head == head)
            row[own] = matched(one[rows] - own[0], two[rows] - own[0], len(own)).mean()
    return _mean(found)


class _Refit(NamedTuple):
    """A second fit: the tubelets it sees, their first concepts, the padded number of a head's, the samples that k-means
    draws for, and its key."""

    tubelets: Tubelets
    first: np.ndarray
    width: int
    drawn: int
    key: jax.Array


def _refit(concepts: Concepts, seen: np.ndarray, key: jax.Array) -> _Refit:
    """seen: bool [tubelet]."""
    part = _select(concepts.tubelets, seen)
    drawn, whole = -(-widest(part) // 64) * 64, padded_samples(widest(concepts.tubelets))
    # Up to here another program takes longer to compile than the steps of padding take.
    width = whole if whole <= 512 else padded_samples(drawn)
    return _Refit(part, concepts.assignment[seen], width, drawn, key)


def most_concepts(number: int, nmf: NmfConfig) -> int:
    """Concepts of a head that programs are compiled for, where ``number`` is the most that any head has."""
    return min(padded_concepts(number), nmf.elbow.largest)


def _mean(found: np.ndarray) -> np.ndarray:
    """float32 [concept]: over the fits [fit, concept] that have a value."""
    known = ~np.isnan(found)
    return np.where(known.any(0), np.where(known, found, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan).astype(
        np.float32
    )


def _keys(key: jax.Array, kind: int, count: int) -> list[jax.Array]:
    return [jax.random.fold_in(jax.random.fold_in(key, kind), i) for i in range(count)]


def _agreement(
    concepts: Concepts, s: int, own: list[np.ndarray], which: list[int], refit: _Refit, nmf: NmfConfig
) -> list[np.ndarray]:
    """For heads ``which`` of site ``s``, float [concept]: J of every concept of the head (``own``: their ids) with its
    match in a second fit; nan where this saw none of it."""
    rows = padded_rows(refit.tubelets, s, len(own), refit.width)[which]
    numbers = np.minimum([len(own[h]) for h in which], (rows >= 0).sum(1)).astype(np.int32)
    keys = head_keys(jax.random.fold_in(refit.key, zlib.crc32(concepts.sites[s].encode())), len(own))
    most = most_concepts(int(concepts.number.max()), nmf)
    X = padded_features(refit.tubelets, rows, concepts.width(s))
    second = _fit(X, rows, np.maximum(numbers, 1), most, nmf, keys[np.asarray(which)], refit.drawn)
    found = []
    for i, h in enumerate(which):
        ids, real = own[h], rows[i] >= 0
        before = refit.first[rows[i][real]] - ids[0]  # the concepts of a head are numbered through
        agreement = matched(before, second[i][real], len(ids))
        found.append(np.where(np.bincount(before, minlength=len(ids)) > 0, agreement, np.nan))
    return found


def _select(tubelets: Tubelets, seen: np.ndarray) -> Tubelets:
    return Tubelets(*(getattr(tubelets, name)[seen] for name in ("site", "head", "video", "label", "size", "feature")))


def _fit(
    X: np.ndarray, rows: np.ndarray, numbers: np.ndarray, most: int, nmf: NmfConfig, keys: jax.Array, drawn: int
) -> np.ndarray:
    """int [head, sample]: concept of every tubelet, by a fit from its own start."""
    labels, _, _ = cluster_heads(X, numbers, keys, rows >= 0, nmf.elbow, nmf.restarts, nmf.kmeans_steps, drawn)
    fit = fit_heads(
        X, labels, numbers, method=nmf.method, concepts=most, max_steps=nmf.max_steps, tol=nmf.tol,
        active=nmf.active, form=nmf.form,
    )  # fmt: skip
    return memberships(fit, nmf.method, nmf.assignment).argmax(-1)


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
