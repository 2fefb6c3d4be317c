"""Interactions of pairs of concepts, from the same scores as the ranking: Walsh coefficients of the even part.

    X_ki   1 where mask k keeps concept i, -1 where it removes it      e_k = (y(M_k) + y(1 - M_k)) / 2
    c_ij   mean of e_k X_ki X_kj over the pairs of complements
    I_ij   4 c_ij: v(both) - v(only i) - v(only j) + v(neither), mean over all sets of the other concepts

Above 0 the pair works as AND: both are needed. Below 0 as OR: either suffices. 0: the effects add up. Single effects
and interactions of three concepts are not in the even part.

    paired            a unit is a pair of masks; its products have the variance of e, since X² = 1
    folded-hadamard   a unit is a whole block: within a block the products of two columns coincide with those of other
                      pairs, which ones changes from block to block. Needs three blocks. The variance between blocks is
                      moderated by one pooled over all pairs (Smyth 2004), as in ``columns``.

Kernel of the interaction index of Grabisch & Roubens (1999) with fair coins; p-values are corrected by Holm (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vtcd_jax.ablation.design import Design
from vtcd_jax.base.statistics import survival
from vtcd_jax.models import InputError

from ..designs.hadamard import Hadamard
from ..designs.random import Paired
from .columns import MIN_BLOCKS, POOLED_DOF
from .estimators import rows_read, whole_blocks


@dataclass(frozen=True)
class Interactions:
    """Pairs of concepts that some clip has both of, most significant first.

    pairs:   int [pair, 2], ids.
    value:   float64 [pair], I, mean over all clips (0 in a clip that lacks one of the two).
    se:      float64 [pair], its standard error for these clips.
    p:       float64 [pair], two-sided, corrected for all pairs.
    """

    pairs: Int[np.ndarray, "pair 2"]
    value: Float[np.ndarray, "pair"]
    se: Float[np.ndarray, "pair"]
    p: Float[np.ndarray, "pair"]

    def kind(self, pair: int) -> str:
        """ "AND" or "OR", by the sign."""
        return "AND" if self.value[pair] > 0 else "OR"


def pair_interactions(design: Design, scores: np.ndarray, hashes: Sequence[str], present: np.ndarray) -> Interactions:
    """Interactions of all pairs.

    scores: [video, mask], NaN anywhere: not run.  hashes: of the clips.  present: bool [video, concept].
    Raises InputError for another design than "paired" and "folded-hadamard", and for a clip with too few masks.
    """
    if not isinstance(design, Paired) and not (
        isinstance(design, Hadamard) and design.folded and design.groups is None
    ):
        raise InputError("interactions of pairs need --design folded-hadamard or paired, without groups of concepts")
    concepts = present.shape[1]
    total, variance, square = np.zeros((3, concepts, concepts))
    for video, row in enumerate(scores):
        own = np.flatnonzero(present[video])
        value, error, dof = _clip(design, np.asarray(row, np.float64), hashes[video], present[video])
        where = np.ix_(own, own)
        total[where] += value
        variance[where] += error
        square[where] += error**2 / dof
    first, second = np.nonzero(np.triu(present.T.astype(float) @ present > 0, 1))
    value, error = (each[first, second] for each in (total, variance))
    with np.errstate(invalid="ignore", divide="ignore"):
        dof = np.where(error > 0, error**2 / square[first, second], 1.0)
        p = np.where(error > 0, 2 * survival(np.abs(value) / np.sqrt(error), dof), np.where(value != 0, 0.0, 1.0))
    order = np.lexsort((-np.abs(value), p))
    pairs, clips = np.stack([first, second], 1)[order], len(scores)
    return Interactions(pairs, value[order] / clips, np.sqrt(error[order]) / clips, holm(p[order]))


def holm(p: Float[np.ndarray, "test"]) -> Float[np.ndarray, "test"]:
    """Holm's corrected p-values of increasing ones."""
    return np.minimum(np.maximum.accumulate(p * (len(p) - np.arange(len(p)))), 1.0)


def _clip(
    design: Paired | Hadamard, y: np.ndarray, clip_hash: str, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """I of a clip's players [player, player], the variance of its mean over units, degrees of freedom."""
    own, rows = np.flatnonzero(present), rows_read(design, y, present)
    blocks = len(whole_blocks(design, y, present)) if isinstance(design, Hadamard) else 1
    if len(rows) < 8 or (isinstance(design, Hadamard) and blocks < MIN_BLOCKS and len(own) > 1):
        need = f"{MIN_BLOCKS} whole blocks" if isinstance(design, Hadamard) else "8 masks"
        raise InputError(f"interactions of pairs need at least {need} a clip; raise --masks")
    kept = design.rows(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]]
    X = 2 * kept[0::2, own].astype(np.float64) - 1
    even = (y[rows][0::2] + y[rows][1::2]) / 2
    even = even - even.mean()
    if isinstance(design, Paired):
        count = len(even)
        mean = X.T @ (even[:, None] * X) / count
        spread = np.maximum((even**2).mean() - mean**2, 0) / max(count - 1, 1)
        return 4 * mean, 16 * spread, max(count - 1, 1)
    by_block = np.stack([
        part.T @ (e[:, None] * part) / len(e)
        for part, e in zip(np.split(X, blocks), np.split(even, blocks), strict=True)
    ])  # fmt: skip
    pooled = by_block.var(0, ddof=1)
    pairs = ~np.eye(len(own), dtype=bool)
    dof = blocks - 1 + POOLED_DOF
    spread = ((blocks - 1) * pooled + POOLED_DOF * (pooled[pairs].mean() if pairs.any() else 0.0)) / dof
    return 4 * by_block.mean(0), 16 * spread / blocks, dof
