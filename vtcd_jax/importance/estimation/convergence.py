"""How far masks have brought a ranking: two halves of the masks, independent of each other, ranked side by side.

At m masks a clip, the ranking from m masks of the first half is correlated (Spearman) with that from m masks of the
second. It is what one would see on repeating the measurement with m masks; the ranking from all masks is better than
the last point. Of Hadamard designs whole blocks alone are halved: within a block the errors of one half are the
opposite of the other's.

The interval is for the mean of this correlation over draws of the masks, on these clips. How far one correlation
scatters about that mean follows from the standard errors: the importance is drawn together by as much as the noise has
spread it out, given new noise many times, and the scatter is taken on Fisher's scale, artanh. Drawing the clips again,
with replacement, would not do: about a third of them are then missing and others count twice, so that noise averages
out over fewer clips and the correlation falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.base import statistics as student

from ..designs.hadamard import Hadamard
from ..designs.random import Design, LeaveOneOut
from .estimators import Estimate, estimate, regression_masks, rows_read, whole_blocks
from .result import error_of_mean, groups_of

POINTS = 8
LEAST = 8  # masks a clip of the first point
DRAWS = 400
NORMAL = 1.96  # standard errors of a 95 % interval on Fisher's scale


@dataclass(frozen=True)
class Convergence:
    """masks: int [point], mean masks per clip.  correlation, low, high: float64 [point], with its 95 % interval."""

    masks: np.ndarray
    correlation: np.ndarray
    low: np.ndarray
    high: np.ndarray


def convergence(
    estimator: str,
    design: Design,
    scores: np.ndarray,
    baseline: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    seed: int = 0,
) -> Convergence:
    """The curve of scores [video, mask] (NaN anywhere: not run).

    baseline: [video], the score with nothing removed.  hashes: of the clips.  present: bool [video, concept].
    Empty where a clip has too few masks to halve, and for leave-one-out, whose halves know other concepts.
    """
    generator, groups, found = np.random.default_rng(seed), groups_of(hashes), {}
    for share in np.geomspace(1 / 2 ** (POINTS / 2), 1, POINTS):
        halves = [_halves(design, row, present[v], estimator, share) for v, row in enumerate(scores)]
        if any(rows is None for rows in halves):
            continue
        sides = tuple(
            [
                estimate(estimator, design, scores[v], float(baseline[v]), hashes[v], present[v], rows[side])
                for v, rows in enumerate(halves)
                if rows is not None
            ]
            for side in (0, 1)
        )
        used = round(np.mean([len(rows[0]) for rows in halves if rows is not None]))
        found[used] = _agreement(sides, groups, generator)  # equal numbers of whole blocks once
    curve = np.array(list(found.values())).reshape(-1, 3).T
    return Convergence(np.array(list(found), int), *curve)


def _halves(
    design: Design, y: np.ndarray, present: np.ndarray, estimator: str, share: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows of a clip, ``share`` of each half; None where they are too few."""
    rows, unit, least = rows_read(design, y, present), 2 if design.paired else 1, LEAST
    if isinstance(design, Hadamard):
        unit = design.block_rows(present)
        rows = rows if len(whole_blocks(design, y, present)) else rows[:0]
    elif estimator == "regression":
        least = max(LEAST, regression_masks(int(present.sum()), design.paired))
    half = len(rows) // unit // 2
    taken = int(round(half * share)) * unit
    if taken < least or isinstance(design, LeaveOneOut):
        return None
    return rows[:taken], rows[half * unit :][:taken]


def _agreement(
    sides: Sequence[Sequence[Estimate]], groups: np.ndarray, generator: np.random.Generator
) -> tuple[float, float, float]:
    """(correlation, low, high) of two measurements, each an estimate per clip."""
    values = [np.mean([e.value for e in side], axis=0) for side in sides]
    errors = [error_of_mean(side, groups)[0] for side in sides]
    seen = np.isfinite([*values, *errors]).all(0)
    (first, second), (one, other) = ([part[seen] for part in parts] for parts in (values, errors))
    correlation = float(rank_correlation(first, second))
    foretold = repetitions((first + second) / 2, np.sqrt(one**2 + other**2) / 2, (one, other), generator)
    scatter = NORMAL * _fisher(foretold).std()
    low, high = np.tanh(_fisher(np.array([correlation])) + np.array([-scatter, scatter]))
    return correlation, float(low), float(high)


def repetitions(
    value: np.ndarray, error: np.ndarray, errors: tuple[np.ndarray, np.ndarray], generator: np.random.Generator
) -> np.ndarray:
    """float64 [draw]: Spearman's correlations between two further measurements of an importance.

    value: [concept], the importance as it was measured, with standard error ``error`` [concept].
    errors: those of the two measurements, [concept] each.
    """
    spread = value.var() if len(value) else 0.0
    real = max(1 - (error**2).mean() / spread, 0.0) if spread > 0 else 0.0
    centred = np.sqrt(real) * (value - value.mean())
    noise = generator.normal(size=(DRAWS, 2, len(value)))
    return rank_correlation(centred + noise[:, 0] * errors[0], centred + noise[:, 1] * errors[1])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of importances [..., concept], float64 [...]; 0 where one is constant."""
    first, second = (ranks - ranks.mean(-1, keepdims=True) for ranks in (student.ranks(first), student.ranks(second)))
    size = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    return np.divide((first * second).sum(-1), size, out=np.zeros(np.shape(size)), where=size > 0)


def _fisher(correlation: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12))
