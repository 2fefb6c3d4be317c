"""Convergence of a ranking: the rank correlation between two independent halves of the masks.

At m masks per clip, the ranking from m masks of the first half is correlated (Spearman) with the ranking from m masks
of the second half. A repetition of the measurement with m masks would show this correlation; the ranking from all masks
is better than the last point. Hadamard designs are halved into whole blocks: within a block, the errors of one half are
the opposite of those of the other half. Slopes are halved into whole draws; of joined designs both parts are halved.

The interval is for the mean of this correlation over draws of the masks, on these clips. The scatter of one correlation
around this mean is predicted from the standard errors: the importance is shrunk by the variance that noise has added,
new noise is added many times, and the scatter is measured on Fisher's scale, artanh. A bootstrap over clips would be
biased: it leaves out about a third of the clips and counts others twice, so that noise averages out over fewer clips
and the correlation falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.ablation.design import Design
from vtcd_jax.base import statistics as student

from ..designs.hadamard import Hadamard
from ..designs.levels import Levels
from ..designs.random import LeaveOneOut
from ..designs.slopes import DRAW, MIN_ROWS, Joined, Slopes
from .clips import Rows, estimate_clips
from .estimators import Estimate, Values, regression_masks, rows_read, whole_blocks
from .formulas import Shared
from .result import error_of_mean, groups_of

POINTS = 8
MIN_MASKS = 8  # per clip, at the first point
DRAWS = 400
NORMAL = 1.96  # standard errors of a 95 % interval on Fisher's scale


@dataclass(frozen=True)
class Convergence:
    """masks: int [point], mean masks per clip.  correlation, low, high: float64 [point], with the 95 % interval."""

    masks: np.ndarray
    correlation: np.ndarray
    low: np.ndarray
    high: np.ndarray


def convergence(
    estimator: str,
    design: Design | Joined,
    scores: np.ndarray | Sequence[Values],
    baseline: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    seed: int = 0,
) -> Convergence:
    """The curve of scores [video, mask] (NaN anywhere: not run), or of slopes, or both, as ``estimate`` reads them.

    baseline: [video], the score with nothing removed.  hashes: of the clips.  present: bool [video, concept].
    Empty where a clip has too few masks to halve, and for leave-one-out, whose halves remove different concepts.
    """
    generator, groups, points = np.random.default_rng(seed), groups_of(hashes), {}
    for fraction in np.geomspace(1 / 2 ** (POINTS / 2), 1, POINTS):
        halves = [_halves(design, row, present[v], estimator, fraction) for v, row in enumerate(scores)]
        if any(rows is None for rows in halves):
            continue
        kept = [rows for rows in halves if rows is not None]
        taken = [[rows[side] for rows in kept] for side in (0, 1)]
        sides = [estimate_clips(estimator, design, scores, baseline, hashes, present, rows) for rows in taken]
        masks = round(np.mean([_count(rows[0]) for rows in halves if rows is not None]))
        points[masks] = _agreement(sides, groups, generator)  # each number of whole blocks once
    curve = np.array(list(points.values())).reshape(-1, 3).T
    return Convergence(np.array(list(points), int), *curve)


def _halves(
    design: Design | Joined, y: Values, present: np.ndarray, estimator: str, fraction: float
) -> tuple[Rows, Rows] | None:
    """Rows of a clip, ``fraction`` of each half; None where there are too few."""
    if isinstance(design, Joined):
        parts = zip((design.masks, design.slopes), y, strict=True)
        masks, slopes = (_halves(part, values, present, estimator, fraction) for part, values in parts)
        return None if masks is None or slopes is None else ((masks[0], slopes[0]), (masks[1], slopes[1]))  # type: ignore[return-value]
    y = np.asarray(y)
    rows, unit, minimum = rows_read(design, y, present), 2 if design.paired else 1, MIN_MASKS
    if isinstance(design, Slopes):
        unit, minimum = DRAW, MIN_ROWS
    elif isinstance(design, Levels):
        unit = design.cycle(present)
        rows = rows if len(rows) % unit == 0 else rows[:0]
    elif isinstance(design, Hadamard):
        unit = design.block_rows(present)
        rows = rows if len(whole_blocks(design, y, present)) else rows[:0]
    elif estimator == "regression":
        minimum = max(MIN_MASKS, regression_masks(int(present.sum()), design.paired))
    half = len(rows) // unit // 2
    taken = int(round(half * fraction)) * unit
    if taken < minimum or isinstance(design, LeaveOneOut):
        return None
    return rows[:taken], rows[half * unit :][:taken]


def _count(rows: Rows) -> int:
    return sum(len(part) for part in rows) if isinstance(rows, tuple) else len(rows)


def _agreement(
    sides: Sequence[tuple[Sequence[Estimate], Shared | None]], groups: np.ndarray, generator: np.random.Generator
) -> tuple[float, float, float]:
    """(correlation, low, high) of two measurements, each an estimate per clip and their shared error."""
    values = [np.mean([e.value for e in estimates], axis=0) for estimates, _ in sides]
    errors = [error_of_mean(estimates, groups, shared)[0] for estimates, shared in sides]
    measured = np.isfinite([*values, *errors]).all(0)
    (first, second), (first_error, second_error) = ([side[measured] for side in pair] for pair in (values, errors))
    correlation = float(rank_correlation(first, second))
    error = np.sqrt(first_error**2 + second_error**2) / 2
    predicted = repetitions((first + second) / 2, error, (first_error, second_error), generator)
    scatter = NORMAL * _fisher(predicted).std()
    low, high = np.tanh(_fisher(np.array([correlation])) + np.array([-scatter, scatter]))
    return correlation, float(low), float(high)


def repetitions(
    value: np.ndarray, error: np.ndarray, errors: tuple[np.ndarray, np.ndarray], generator: np.random.Generator
) -> np.ndarray:
    """float64 [draw]: Spearman's correlations between two repetitions of a measurement of importance.

    value: [concept], the measured importance, with standard error ``error`` [concept].
    errors: those of the two measurements, [concept] each.
    """
    variance = value.var() if len(value) else 0.0
    reliability = max(1 - (error**2).mean() / variance, 0.0) if variance > 0 else 0.0
    centred = np.sqrt(reliability) * (value - value.mean())
    noise = generator.normal(size=(DRAWS, 2, len(value)))
    return rank_correlation(centred + noise[:, 0] * errors[0], centred + noise[:, 1] * errors[1])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of importances [..., concept], float64 [...]; 0 where one is constant."""
    first, second = (ranks - ranks.mean(-1, keepdims=True) for ranks in (student.ranks(first), student.ranks(second)))
    size = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    return np.divide((first * second).sum(-1), size, out=np.zeros(np.shape(size)), where=size > 0)


def _fisher(correlation: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
