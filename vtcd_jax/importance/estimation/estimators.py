"""Estimators: importance of each concept in one clip from the scores of masked passes, with the sampling error.

    y_k      score of mask k            y_0  score with nothing removed
    M_ki     1 where mask k keeps concept i, else 0;  X = 2 M - 1

    contrast     mean(y | kept) - mean(y | removed): a centred estimate of the Banzhaf value, 0 for no influence
    regression   twice the slopes of y on X, by least squares: the same value without the other concepts' effects
    paper        mean_k (y_0 - y_k)(1 - M_ki)                Kowal et al. (2024), equation 6
    released     Σ_k y_k M_ki                                 the authors' code: not centred, not divided
    drop         y_0 - y_k where mask k removes i alone       occlusion
    slope        mean of dy / dg_i at rows where gate i is drawn from [0, 1] (``slopes``)
    joined       both, over all clips at once (``clips``, ``join``)

Higher is more important for all of them. From complementary pairs of masks only the differences
``d = (y(M) - y(1 - M)) / 2`` are used. Whole Hadamard blocks are read by their columns, where contrast and regression
are equal (``columns``). Wang & Jia (2023), "Data Banzhaf"; Liu et al. (2024), "Kernel Banzhaf"; Smyth (2004), "Linear
models and empirical Bayes methods for assessing differential expression in microarray experiments".

Contrast and regression need masks that remove different numbers of concepts. If every mask removes k of n, keeping one
concept means removing another: for additive scores with effects b, the contrast is n / (n - 1) · (b_i - mean(b)). It is
relative to the clip's mean effect, which such masks cannot show and which differs between clips.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from vtcd_jax.ablation.design import Design
from vtcd_jax.models import InputError

from ..designs.hadamard import Hadamard
from ..designs.levels import Levels
from ..designs.random import Bernoulli, LeaveOneOut, Paired, Random
from ..designs.slopes import Joined, Slopes
from .columns import MIN_BLOCKS, POOLED_DOF, block_estimate
from .formulas import (
    Estimate,
    contrast,
    drop,
    paired_contrast,
    paper,
    regression,
    regression_masks,
    released,
    removed_and_kept,
)
from .slopes import slope_estimate

__all__ = [
    "ESTIMATORS", "MIN_BLOCKS", "ORIGINALS", "POOLED_DOF", "Estimate", "check_fits", "count_read", "default_estimator",
    "estimate", "from_rows", "removed_and_kept", "regression_masks", "rows_read", "whole_blocks",
]  # fmt: skip

ESTIMATORS = ("contrast", "regression", "paper", "released", "drop", "slope", "joined")
SLOPED = ("slope", "joined")  # of the designs with slopes alone
ORIGINALS = ("paper", "released")  # absent concepts can be removed too, and all masks remove equally many


Rows = np.ndarray | tuple[np.ndarray, np.ndarray]  # int [row]; of a ``Joined`` design those of masks and of slopes
Values = np.ndarray | tuple[np.ndarray, np.ndarray]  # a clip's scores [mask] or slopes [row, concept]; both of them


def default_estimator(design: Design | Joined) -> str:
    """What fits a design; for masks the contrast, which works with any number of them."""
    if isinstance(design, (Slopes, Joined)):
        return "slope" if isinstance(design, Slopes) else "joined"
    return "drop" if isinstance(design, LeaveOneOut) else "contrast"


def check_fits(estimator: str, design: Design | Joined) -> None:
    """Raises InputError for an unknown estimator, and for one of slopes where there are none, or the reverse."""
    if estimator not in ESTIMATORS:
        raise InputError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    fits = default_estimator(design)
    if estimator != fits and {estimator, fits} & set(SLOPED):
        raise InputError(f"estimator {estimator!r} does not fit a design with the estimator {fits!r}; leave it out")


def estimate(
    estimator: str,
    design: Design,
    y: np.ndarray,
    baseline: float,
    clip_hash: str,
    present: np.ndarray,
    rows: np.ndarray | None = None,
) -> Estimate:
    """One clip's importance from its scores [mask] under the first rows of a design, NaN where a row was not run.

    y:    for ``Slopes`` slopes [row, concept].
    rows: int [row], increasing, which rows to read; None: ``rows_read``.
    Raises InputError for an unknown estimator, for too few masks, and for masks that cannot show the estimate.
    """
    check_fits(estimator, design)
    y = np.asarray(y, np.float64)
    rows = rows_read(design, y, present) if rows is None else np.asarray(rows)
    if isinstance(design, Levels):
        return _by_level(estimator, design, y, baseline, clip_hash, present, rows)
    if not len(rows):
        nothing = np.where(_players(design, present), np.nan, 0.0)
        return Estimate(nothing, nothing, 1.0)
    if isinstance(design, Slopes):
        drawn = design.drawn(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]]
        found = slope_estimate(y[rows], drawn)
        value, variance = (np.where(present, a, 0.0) for a in (found.value, found.variance))
        return Estimate(value, variance, found.dof)
    blocks = _blocks_of(design, rows, present)
    if blocks is not None and estimator != "drop":
        assert isinstance(design, Hadamard)
        result = block_estimate(estimator, y[rows], float(baseline), design, clip_hash, present, blocks)
        return _measured(estimator, result, np.where(present, 0.5, 1.0), present)
    kept = design.rows(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]].astype(np.float64)
    if estimator in ("contrast", "regression"):
        _check_sizes(estimator, design, kept)
    if estimator == "regression" and isinstance(design, Hadamard) and present.any():
        ones, numbers = design.representatives(present), design.players(present)
        groups = regression(y[rows], kept[:, ones], design.paired)
        value, variance = (np.where(numbers >= 0, a[numbers], 0.0) for a in (groups.value, groups.variance))
        result = Estimate(value, variance, groups.dof)
    else:
        result = from_rows(estimator, y[rows], kept, float(baseline), paired=design.paired)
    return _measured(estimator, result, kept.mean(0), _players(design, present))


def _by_level(
    estimator: str,
    design: Levels,
    y: np.ndarray,
    baseline: float,
    clip_hash: str,
    present: np.ndarray,
    rows: np.ndarray,
) -> Estimate:
    """Each node's mean over the levels that have it as a player; their errors are independent."""
    read = np.full(len(y), np.nan)
    read[rows] = y[rows]
    value, variance = np.zeros((2, len(present)))
    dof, times, pooled = np.full(len(present), np.inf), np.zeros(len(present)), False
    for number, level in enumerate(design.levels(present)):
        scores = read[design.rows_of(level, present)]
        found = estimate(estimator, level.design, scores, baseline, clip_hash, level.leaves)
        nodes, leaf = design.players(number, level)
        value[nodes] += found.value[leaf]
        variance[nodes] += found.variance[leaf]
        dof[nodes] = np.minimum(dof[nodes], np.broadcast_to(found.dof, found.value.shape)[leaf])
        times[nodes] += 1
        pooled |= found.pooled
    often = np.maximum(times, 1)
    return Estimate(value / often, variance / often**2, np.where(times > 0, dof, 1.0), pooled)


def from_rows(
    estimator: str,
    y: Shaped[np.ndarray, " mask"],
    kept: Shaped[np.ndarray, "mask concept"],
    baseline: float = 0.0,
    *,
    paired: bool = False,
) -> Estimate:
    """One clip's importance from its scores and gates, for any design. paired: rows 2k, 2k + 1 are complements."""
    y, kept = np.asarray(y, np.float64), np.asarray(kept, np.float64)
    if estimator == "contrast":
        return paired_contrast(y, kept) if paired else contrast(y, kept)
    if estimator == "regression":
        return regression(y, kept, paired)
    if estimator == "released":
        return released(y, kept, paired)
    return paper(y, kept, baseline, paired) if estimator == "paper" else drop(y, kept, baseline)


def rows_read(design: Design, y: np.ndarray, present: np.ndarray) -> np.ndarray:
    """int [row]: the scores of a clip [mask] that estimators read: the finite ones.

    For paired designs these are whole pairs, for Hadamard designs whole blocks, for a hierarchy whole cycles of its
    levels, if there is at least one.
    """
    if isinstance(design, Levels):
        cycle = design.cycle(present)
        whole = np.flatnonzero(np.isfinite(y[: len(y) // cycle * cycle]).reshape(-1, cycle).all(1))
        return _rows_of(whole, cycle) if len(whole) else np.flatnonzero(np.isfinite(y))
    blocks = whole_blocks(design, y, present)
    if len(blocks) and isinstance(design, Hadamard):
        return _rows_of(blocks, design.block_rows(present))
    finite = np.isfinite(y if y.ndim == 1 else y.sum(1))  # slopes: of all concepts
    if design.paired:
        finite = np.repeat(finite[: len(y) // 2 * 2].reshape(-1, 2).all(1), 2)
    return np.flatnonzero(finite)


def count_read(design: Design | Joined, y: Values, present: np.ndarray) -> int:
    """Number of passes of a clip that estimators read."""
    if isinstance(design, Joined):
        return sum(count_read(part, v, present) for part, v in zip((design.masks, design.slopes), y, strict=True))
    return len(rows_read(design, np.asarray(y), present))


def whole_blocks(design: Design, y: np.ndarray, present: np.ndarray) -> np.ndarray:
    """int [block]: numbers of the Hadamard blocks that were run completely; empty for other designs."""
    if not isinstance(design, Hadamard):
        return np.zeros(0, int)
    size = design.block_rows(present)
    return np.flatnonzero(np.isfinite(y[: len(y) // size * size]).reshape(-1, size).all(1))


def _rows_of(blocks: np.ndarray, size: int) -> np.ndarray:
    return (blocks[:, None] * size + np.arange(size)).ravel()


def _blocks_of(design: Design, rows: np.ndarray, present: np.ndarray) -> np.ndarray | None:
    """The numbers of the blocks that these rows form; None where they are not whole blocks."""
    if not isinstance(design, Hadamard) or not present.any() or len(rows) % (size := design.block_rows(present)):
        return None
    blocks = rows[::size] // size
    return blocks if np.array_equal(rows, _rows_of(blocks, size)) else None


def _players(design: Design, present: np.ndarray) -> np.ndarray:
    """bool [concept]: the concepts that a design can remove from a clip."""
    return np.ones_like(present) if isinstance(design, Random) and design.players == "all" else present


def _measured(estimator: str, estimate: Estimate, kept: np.ndarray, removable: np.ndarray) -> Estimate:
    """NaN where the masks do not show a concept's influence. kept: [concept], fraction of the masks that keep it.

    The released sum is largest for a concept that is never removed, so it is always NaN there.
    """
    unseen = (kept == 1) if estimator in ("paper", "drop") else (kept == 1) | (kept == 0)
    unseen &= removable | (estimator == "released")
    value, variance = (np.where(unseen, np.nan, a) for a in (estimate.value, estimate.variance))
    return Estimate(value, variance, estimate.dof, estimate.pooled)


def _check_sizes(estimator: str, design: Design, kept: np.ndarray) -> None:
    """Raises InputError for masks that all remove equally many concepts. A design that draws this number may do so by
    chance in a few masks, which is part of its noise."""
    random_size = isinstance(design, (Bernoulli, Paired, Hadamard)) or (
        isinstance(design, Random) and design.players == "present"
    )
    removed = (1 - kept).sum(1)
    if not random_size and removed_and_kept(kept).sum() > 1 and np.ptp(removed) == 0:
        raise InputError(
            f"estimator {estimator!r} needs masks that remove different numbers of concepts, but all of these remove "
            f"{removed[0]:g}; take --estimator paper, or another --design"
        )
