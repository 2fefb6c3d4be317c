"""Importance from whole Hadamard blocks, by their columns: those of the concepts and the unassigned ones.

    N       rows of a block (pairs of rows where it is folded)        m_b  mean score of block b
    c_bi    2 mean(y X_i) over block b: the contrast of concept i      m, c  their means over blocks

In a whole block every concept is kept in half of the rows, so all estimators are functions of m and c:

    contrast, regression   c              paper   (y_0 - m) / 2 + c / 4              released   masks · (m / 2 + c / 4)

The variance of c is the variance between blocks, moderated by a variance pooled over all columns (Smyth 2004), because
a few blocks can agree by chance. An unassigned column contains every interaction, a concept's column only those without
it, so the pooled variance tends to be too large. The variance of m is the variance between blocks alone, unknown from
one block: interactions of two concepts affect the columns, but not the mean of a block.
"""

from __future__ import annotations

import numpy as np

from ..designs.hadamard import Hadamard
from .formulas import Estimate, mean_of_units

MIN_BLOCKS = 3  # whole blocks from which each concept has its own error; with fewer the errors are pooled
POOLED_DOF = 4  # degrees of freedom of the pooled error, added to those of a concept's own error


def block_estimate(
    estimator: str,
    y: np.ndarray,
    baseline: float,
    design: Hadamard,
    clip_hash: str,
    present: np.ndarray,
    blocks: np.ndarray,
) -> Estimate:
    """One clip's importance from whole blocks; the clip has at least one concept.

    estimator: any but "drop".  y: float64 [mask], scores of these blocks.  blocks: int [block], their numbers.
    """
    numbers = design.players(present)
    effects, unassigned, means = _columns(y, design, clip_hash, int(numbers.max()) + 1, blocks)
    variance, dof, pooled = _variance(effects, unassigned)
    assigned, value = numbers >= 0, effects.mean(0)
    if estimator in ("paper", "released"):
        _, of_mean, mean_dof = mean_of_units(means)
        terms = np.stack(np.broadcast_arrays(of_mean / 4, variance / 16))
        variance = terms.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            combined = variance**2 / (terms[0] ** 2 / mean_dof + terms[1] ** 2 / dof)
        dof = np.where(assigned, np.where(variance > 0, combined, dof)[numbers], dof)
        value = (baseline - means.mean() if estimator == "paper" else means.mean()) / 2 + value / 4
    scale = len(y) if estimator == "released" else 1
    return Estimate(
        np.where(assigned, scale * value[numbers], 0.0),
        np.where(assigned, scale**2 * variance[numbers], 0.0),
        dof,
        pooled,
    )


def _columns(
    y: np.ndarray, design: Hadamard, clip_hash: str, players: int, blocks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contrasts [block, concept], those of unassigned columns [block, column], and means of the blocks [block, 1]."""
    effects, unassigned, means = [], [], []
    for number, scores in zip(blocks, y.reshape(len(blocks), -1), strict=True):
        signs = design.signs(clip_hash, int(number), players)
        halves = (scores[0::2] - scores[1::2]) / 2 if design.folded else scores
        columns = 2 * (halves @ signs.matrix) / len(halves)
        effects.append(columns[:players])
        unassigned.append(columns[players:])
        means.append([scores.mean()])
    return np.array(effects), np.array(unassigned), np.array(means)


def _variance(by_block: np.ndarray, unassigned: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """Variance of the mean over blocks [column], its degrees of freedom, and whether it is pooled over all columns."""
    count, size = by_block.shape
    squares = (count - 1) * by_block.var(0, ddof=1) if count > 1 else np.zeros(size)
    dof = unassigned.size + size * (count - 1)
    variance, pooled = np.full(size, ((unassigned**2).sum() + squares.sum()) / dof), count < MIN_BLOCKS
    if not pooled:
        dof = count - 1 + POOLED_DOF
        variance = (squares + POOLED_DOF * variance) / dof
    return variance / count, dof, pooled
