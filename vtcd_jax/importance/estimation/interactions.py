"""Interactions of pairs of concepts, from the same scores as the ranking: Walsh coefficients of the even part.

    X_ki   1 where mask k keeps concept i, -1 where it removes it      e_k = (y(M_k) + y(1 - M_k)) / 2
    c_ij   mean of e_k X_ki X_kj over the pairs of complements
    I_ij   4 c_ij: v(both) - v(only i) - v(only j) + v(neither), mean over all sets of the other concepts

Above 0 the pair works as AND: both are needed. Below 0 as OR: either suffices. 0: the effects add up. Single effects
and interactions of three concepts are not in the even part.

The test is for these clips where every clip has enough units, three blocks or four pairs of masks; otherwise it is for
clips of this kind:

    masks    over units. A unit of "paired" is a pair of masks; its products have the variance of e, since X² = 1. A
             unit of "folded-hadamard" is a whole block: within a block the products of two columns coincide with those
             of other pairs, which ones changes from block to block. The variance between blocks is moderated by one
             pooled over all pairs (Smyth 2004), as in ``columns``
    clips    over the clips that have both concepts, at least four, copies of a clip as one

Kernel of the interaction index of Grabisch & Roubens (1999) with fair coins; p-values are corrected by Holm (1979).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Float, Int

from vtcd_jax.ablation.design import Design
from vtcd_jax.base.showing import html_table, to_pandas
from vtcd_jax.base.statistics import survival
from vtcd_jax.concepts import Concepts
from vtcd_jax.models import InputError

from ..designs.hadamard import Hadamard
from ..designs.random import Paired
from .columns import MIN_BLOCKS, POOLED_DOF
from .estimators import rows_read, whole_blocks

LEVEL = 0.05
MIN_CLIPS = 4
MIN_PAIRS = 4  # of masks, in a clip


@dataclass(frozen=True)
class Interactions:
    """Pairs of concepts that are together in enough clips for a test, most significant first.

    score:   its name.
    over:    what errors and tests are over: "masks" or "clips" (see above).
    tests:   number of pairs that were tested; there may be fewer here (``first``).
    pairs:   int [pair, 2], ids.
    value:   float64 [pair], I, mean over all clips (0 in a clip that lacks one of the two).
    se:      float64 [pair], its standard error.
    p:       float64 [pair], two-sided, corrected for all tests.
    """

    score: str
    over: str
    tests: int
    pairs: Int[np.ndarray, "pair 2"]
    value: Float[np.ndarray, "pair"]
    se: Float[np.ndarray, "pair"]
    p: Float[np.ndarray, "pair"]

    def __repr__(self) -> str:
        return f"<{self.significant()} of {self.tests:,} pairs of concepts interact, by {self.score}, over {self.over}>"

    def _repr_html_(self) -> str:
        return html_table(repr(self)[1:-1], self.table())

    def table(self, concepts: Concepts | None = None) -> dict[str, np.ndarray | Sequence[Any]]:
        """A row per pair, most significant first, as columns. concepts: those that were ranked, for their names."""
        first, second = self.pairs.T
        columns: dict[str, np.ndarray | Sequence[Any]] = {"first": first, "second": second}
        if concepts is not None:
            columns["first_name"] = tuple(concepts.names[i] for i in first)
            columns["second_name"] = tuple(concepts.names[i] for i in second)
        kinds = tuple(self.kind(i) for i in range(len(self.pairs)))
        return columns | {"kind": kinds, "interaction": self.value, "se": self.se, "p": self.p}

    def to_pandas(self, concepts: Concepts | None = None) -> Any:
        """``table()`` as a data frame."""
        return to_pandas(self.table(concepts))

    def kind(self, pair: int) -> str:
        """ "AND" or "OR", by the sign."""
        return "AND" if self.value[pair] > 0 else "OR"

    def significant(self) -> int:
        """Number of the pairs with p < 0.05."""
        return int((self.p < LEVEL).sum())

    def line(self, names: Sequence[str]) -> str:
        """A sentence. names: of the concepts."""
        text = f"pairs of concepts whose effects do not add up: {self.significant()} of {self.tests:,} tested"
        if not self.significant():
            return text
        one, other = (names[i] for i in self.pairs[0])
        return f"{text}, clearest: {one} {self.kind(0)} {other} ({self.value[0]:.3g} ± {self.se[0]:.2g})"

    def first(self, count: int) -> Interactions:
        """The most significant pairs."""
        return replace(self, **{name: getattr(self, name)[:count] for name in ("pairs", "value", "se", "p")})


def shows_pairs(design: object) -> TypeGuard[Paired | Hadamard]:
    """Whether the scores of a design show interactions of pairs."""
    return isinstance(design, Paired) or (isinstance(design, Hadamard) and design.folded and design.groups is None)


def pair_interactions(
    design: Design, scores: np.ndarray, hashes: Sequence[str], present: np.ndarray, *, score: str = ""
) -> Interactions:
    """Interactions of all pairs.

    scores: [video, mask], NaN anywhere: not run.  hashes: of the clips.  present: bool [video, concept].  score: its
    name.
    Raises InputError for another design than "paired" and "folded-hadamard", and where neither the masks of every clip
    nor the number of clips are enough for a test.
    """
    if not shows_pairs(design):
        raise InputError("interactions of pairs need --design folded-hadamard or paired, without groups of concepts")
    units = [_units(design, np.asarray(row, np.float64), present[v]) for v, row in enumerate(scores)]
    fewest = min((n for n, own in zip(units, present, strict=True) if own.sum() > 1), default=0)
    copies = _copies(hashes, present)
    least, need = (MIN_BLOCKS, "whole blocks") if isinstance(design, Hadamard) else (2 * MIN_PAIRS, "masks")
    over = "masks" if fewest >= least else "clips"
    if fewest < 1 or (over == "clips" and len(copies) < MIN_CLIPS):
        raise InputError(
            f"interactions of pairs need at least {least} {need} a clip, or {MIN_CLIPS} clips; raise --masks"
        )
    clips = ((len(own), _of_clip(design, scores[own[0]], hashes[own[0]], present[own[0]])) for own in copies)
    value, error, dof, tested = (_over_clips if over == "clips" else _over_masks)(clips, present)
    first, second = np.nonzero(np.triu(tested, 1))
    value, error, dof = (each[first, second] for each in (value, error, dof))
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * survival(np.abs(value) / np.sqrt(error), dof), np.where(value != 0, 0.0, 1.0))
    order = np.lexsort((-np.abs(value), p))
    pairs = np.stack([first, second], 1)[order]
    return Interactions(score, over, len(pairs), pairs, value[order], np.sqrt(error[order]), holm(p[order]))


class _Clip(NamedTuple):
    """I of a clip's pairs of players, the variance of its mean over units (nan with one), degrees of freedom.
    where: their places among the pairs of all concepts."""

    where: tuple[np.ndarray, ...]
    value: np.ndarray
    variance: np.ndarray
    dof: float


Clips = Iterator[tuple[int, _Clip]]
"""Each different clip with a pair of concepts, and how many copies of it there are."""
Sums = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""I, the variance of its mean, degrees of freedom, whether it can be tested: [concept, concept] each."""


def _over_masks(clips: Clips, present: np.ndarray) -> Sums:
    total, variance, square = np.zeros((3, present.shape[1], present.shape[1]))
    for copies, clip in clips:
        error = copies**2 * clip.variance  # copies have equal masks and errors
        total[clip.where] += copies * clip.value
        variance[clip.where] += error
        square[clip.where] += error**2 / clip.dof
    with np.errstate(invalid="ignore", divide="ignore"):
        dof = np.where(variance > 0, variance**2 / square, 1.0)
    count = len(present)
    return total / count, variance / count**2, dof, present.T.astype(float) @ present > 0


def _over_clips(clips: Clips, present: np.ndarray) -> Sums:
    total, square, units = np.zeros((3, present.shape[1], present.shape[1]))
    for copies, clip in clips:
        value = copies * clip.value
        total[clip.where] += value
        square[clip.where] += value**2
        units[clip.where] += 1
    dof = np.maximum(units - 1, 1)
    variance = np.maximum(square - total**2 / np.maximum(units, 1), 0) * units / dof
    count = len(present)
    return total / count, variance / count**2, dof, units >= MIN_CLIPS


def _copies(hashes: Sequence[str], present: np.ndarray) -> list[list[int]]:
    """For each different clip with a pair of concepts, the numbers of its copies."""
    by_hash: dict[str, list[int]] = {}
    for video in np.flatnonzero(present.sum(1) > 1).tolist():
        by_hash.setdefault(hashes[video], []).append(video)
    return list(by_hash.values())


def holm(p: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
    """Holm's corrected p-values of increasing ones."""
    return np.minimum(np.maximum.accumulate(p * (len(p) - np.arange(len(p)))), 1.0)


def _units(design: Paired | Hadamard, y: np.ndarray, present: np.ndarray) -> int:
    """Whole blocks, or masks, of a clip that was run."""
    if isinstance(design, Hadamard):
        return len(whole_blocks(design, y, present))
    return len(rows_read(design, y, present))


def _of_clip(design: Paired | Hadamard, scores: np.ndarray, clip_hash: str, present: np.ndarray) -> _Clip:
    y, own = np.asarray(scores, np.float64), np.flatnonzero(present)
    rows, where = rows_read(design, y, present), np.ix_(own, own)
    kept = design.rows(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]]
    X = 2 * kept[0::2, own].astype(np.float64) - 1
    even = (y[rows][0::2] + y[rows][1::2]) / 2
    even = even - even.mean()
    if isinstance(design, Paired):
        mean, dof = X.T @ (even[:, None] * X) / len(even), max(len(even) - 1, 1)
        return _Clip(where, 4 * mean, 16 * np.maximum((even**2).mean() - mean**2, 0) / dof, dof)
    blocks = len(whole_blocks(design, y, present))
    parts = zip(np.split(X, blocks), np.split(even, blocks), strict=True)
    by_block = np.stack([part.T @ (e[:, None] * part) / len(e) for part, e in parts])
    return _Clip(where, 4 * by_block.mean(0), *_between_blocks(by_block))


def _between_blocks(by_block: np.ndarray) -> tuple[np.ndarray, float]:
    """(variance of I over blocks [block, player, player], degrees of freedom)."""
    blocks, players = len(by_block), by_block.shape[1]
    if blocks < 2:
        return np.full(by_block.shape[1:], np.nan), 1
    own, pairs, dof = by_block.var(0, ddof=1), ~np.eye(players, dtype=bool), blocks - 1 + POOLED_DOF
    pooled = own[pairs].mean() if pairs.any() else 0.0
    return 16 * ((blocks - 1) * own + POOLED_DOF * pooled) / dof / blocks, dof
