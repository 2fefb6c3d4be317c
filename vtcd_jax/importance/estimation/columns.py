"""Importance from whole Hadamard blocks, by their columns: the players' and those that no one has.

    N       rows of a block (pairs of rows where it is folded)        m_b  mean score of block b
    c_bi    2 mean(y X_i) over block b: the contrast of concept i      m, c  their means over blocks

In a whole block every concept is kept in half of the rows, so that all estimators are made of m and c:

    contrast, regression   c              paper   (y_0 - m) / 2 + c / 4              released   masks · (m / 2 + c / 4)

The variance of c is that between blocks, mixed with a pooled one of all columns (Smyth 2004): a few blocks can agree by
chance. A column that no one has is hit by every interaction, a player's by those without it, so the pooled variance
rather is too large than too small. The variance of m is that between blocks alone, unknown from one block: interactions
of two, which hit the columns, leave the mean of a block as it is.
"""

from __future__ import annotations

import numpy as np

from ..designs.hadamard import Hadamard
from .formulas import Estimate, mean_of_units

LEAST_BLOCKS = 3  # whole blocks from which each concept has an error of its own; with fewer they are pooled
POOLED_DOF = 4  # degrees of freedom that the pooled error counts for beside a concept's own


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
    effects, spare, means = _columns(y, design, clip_hash, int(numbers.max()) + 1, blocks)
    variance, dof, pooled = _variance(effects, spare)
    there, value = numbers >= 0, effects.mean(0)
    if estimator in ("paper", "released"):
        _, of_mean, mean_dof = mean_of_units(means)
        parts = np.stack(np.broadcast_arrays(of_mean / 4, variance / 16))
        variance = parts.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            shared = variance**2 / (parts[0] ** 2 / mean_dof + parts[1] ** 2 / dof)
        dof = np.where(there, np.where(variance > 0, shared, dof)[numbers], dof)
        value = (baseline - means.mean() if estimator == "paper" else means.mean()) / 2 + value / 4
    scale = len(y) if estimator == "released" else 1
    return Estimate(
        np.where(there, scale * value[numbers], 0.0), np.where(there, scale**2 * variance[numbers], 0.0), dof, pooled
    )


def _columns(
    y: np.ndarray, design: Hadamard, clip_hash: str, players: int, blocks: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each block: contrasts [block, player], the same of columns that no one has, its mean [block, 1]."""
    effects, spare, means = [], [], []
    for number, part in zip(blocks, y.reshape(len(blocks), -1), strict=True):
        signs = design.signs(clip_hash, int(number), players)
        halves = (part[0::2] - part[1::2]) / 2 if design.folded else part
        columns = 2 * (halves @ signs.matrix) / len(halves)
        effects.append(columns[:players])
        spare.append(columns[players:])
        means.append([part.mean()])
    return np.array(effects), np.array(spare), np.array(means)


def _variance(by_block: np.ndarray, nobodys: np.ndarray) -> tuple[np.ndarray, int, bool]:
    """Variance of the mean over blocks [column], its degrees of freedom, and whether it is one for all columns."""
    count, size = by_block.shape
    squares = (count - 1) * by_block.var(0, ddof=1) if count > 1 else np.zeros(size)
    dof = nobodys.size + size * (count - 1)
    variance, pooled = np.full(size, ((nobodys**2).sum() + squares.sum()) / dof), count < LEAST_BLOCKS
    if not pooled:
        dof = count - 1 + POOLED_DOF
        variance = (squares + POOLED_DOF * variance) / dof
    return variance / count, dof, pooled
