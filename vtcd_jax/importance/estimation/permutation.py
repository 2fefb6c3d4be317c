"""Permutation null of the importance: residuals of each concept's reduced fit are permuted among the masks.

    y  scores of a clip's masks, or half the differences of its complementary pairs     X  1 kept, -1 removed

The null hypothesis of concept i: its slope in the least-squares fit of y on all columns of X is 0. Then y is the fit on
the other columns plus a residual e_i, whose entries may be permuted (Freedman & Lane 1983; pairs stay together, and
their sign may flip). Each permutation is fitted again, so that other strong concepts do not count as noise of i:

    e_i = e + b_i r_i          e  residual of the whole fit    b_i  slope    r_i  residual of column i on the others
    t_i = Σ_v b_vi / s_i       over clips v, s_i² = Σ_v s_vi² the squared standard errors of the slopes

In the length of a refitted residual the contribution of the noise is computed, and that of ``b_i r_i`` is replaced by
its mean over permutations. A concept's p is the fraction of permutations in which *any* concept's t is as far from 0
(Westfall & Young 1993), so it is corrected for all concepts together. With too few masks for a fit over all concepts
each column is fitted alone.

The null hypothesis for slopes (see ``slopes``): u_ki, the mean slope of a pair of rows, is distributed symmetrically
around 0. Then the sign of each pair may flip, the same for all its concepts. An asymmetric u_ki with mean 0 is tested
approximately, because t is a studentised mean. In joined designs the t of both parts are joined in every permutation,
in each clip with inverse variances.

Freedman & Lane, "A nonstochastic interpretation of reported significance levels", J. Bus. Econ. Stat. 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.ablation.design import Design
from vtcd_jax.base.random import Seed, generator, key_bytes

from ..designs.levels import Levels
from ..designs.random import LeaveOneOut, Random
from ..designs.slopes import Joined, Slopes
from .estimators import Values, rows_read
from .formulas import removed_and_kept
from .result import groups_of, summed
from .slopes import units_of

MIN_DOF = 5  # degrees of freedom below which a fit on all columns does not show the noise
EXACT = 1e-9  # a residual this small relative to the scores is rounding
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class Null:
    """The permutation null.

    p:      float64 [concept], corrected for all concepts, at least 1 / (draws + 1); NaN where the masks cannot show it.
    spread: float64 [concept], standard deviation of the importance under the null; NaN likewise.
    draws:  number of permutations.
    """

    p: np.ndarray
    spread: np.ndarray
    draws: int


def permutation_null(
    estimator: str,
    design: Design | Joined,
    scores: np.ndarray | Sequence[Values],
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    key: Seed,
    draws: int = 400,
) -> Null:
    """Tests whether the importance of each concept differs from 0.

    scores: [video, mask], NaN anywhere: not run; slopes, or both, as ``estimate`` reads them.
    hashes: of the clips, equal ones are copies with the same permutations.
    present: bool [video, concept].
    All NaN for exact drops (``estimator`` "drop"), which have no noise. NaN also for a concept that no mask removed,
    and where all masks of a clip with every concept remove equally many (paper, released): such masks cannot locate 0.
    """
    concepts = present.shape[1]
    if estimator == "drop" or isinstance(design, LeaveOneOut):
        return Null(np.full(concepts, np.nan), np.full(concepts, np.nan), draws)
    slopes, errors = (np.zeros((len(scores), 1 + draws, concepts)) for _ in range(2))
    for video, row in enumerate(scores):
        rng = generator(key_bytes(key), hashes[video], 0)
        slopes[video], errors[video] = _clip(design, row, hashes[video], present[video], draws, rng)
    groups = groups_of(hashes)
    error = np.sqrt((summed(errors, groups) ** 2).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.abs(slopes.sum(0)) / error
    testable = (error > 0).any(0)
    t = np.nan_to_num(t)
    p = (1 + (t[1:].max(1)[:, None] >= t[0] * (1 - EXACT)).sum(0)) / (draws + 1)
    spread = 2 * error[0] / len(scores)
    return Null(np.where(testable, p, np.nan), np.where(testable, spread, np.nan), draws)


def _clip(
    design: Design | Joined, y: Values, clip_hash: str, present: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and their standard errors [1 + draws, concept], as measured and in every permutation; 0 for concepts that
    the clip does not show."""
    if isinstance(design, Joined):
        parts = zip((design.masks, design.slopes), y, strict=True)
        return _joined(*(_clip(part, values, clip_hash, present, draws, rng) for part, values in parts))
    slopes, errors = np.zeros((2, 1 + draws, len(present)))
    scores = np.asarray(y)
    if isinstance(design, Levels):  # each node by the lowest level that removes it
        for number, level in reversed(list(enumerate(design.levels(present)))):
            own = scores[design.rows_of(level, present)]
            nodes, leaf = design.players(number, level)
            found = _clip(level.design, own, clip_hash, level.leaves, draws, rng)
            slopes[:, nodes], errors[:, nodes] = (values[:, leaf] for values in found)
        return slopes, errors
    rows = rows_read(design, scores, present)
    if not len(rows):
        return slopes, errors
    if isinstance(design, Slopes):
        drawn = design.drawn(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]]
        return _flipped(*units_of(scores[rows] / 2, drawn), draws, rng)
    kept = design.rows(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]].astype(np.float64)
    shown = np.flatnonzero(removed_and_kept(kept) & present)
    y, columns = scores[rows].astype(np.float64), 2 * kept[:, shown] - 1
    if design.paired:
        y, columns = (y[0::2] - y[1::2]) / 2, columns[0::2]
    else:
        y, columns = y - y.mean(), columns - columns.mean(0)
    y = np.where(np.abs(y).max() > EXACT**1.5 * np.abs(scores[rows]).max(), y, 0.0)  # else all scores are equal
    columns, which = np.unique(columns, axis=1, return_inverse=True)  # concepts with equal columns are one
    order, signs = permutations(len(y), design.paired, draws, rng)
    dimensions = len(y) - int(not design.paired)
    if dimensions - columns.shape[1] >= MIN_DOF:
        fits = _joint_fit(y, columns, dimensions, order, signs)
    elif isinstance(design, Random) and design.players == "all":
        return slopes, errors
    else:
        fits = _single_fits(y, columns, dimensions, order, signs)
    slopes[:, shown], errors[:, shown] = (values[:, which.ravel()] for values in fits)
    return slopes, errors


def _joint_fit(
    y: np.ndarray, X: np.ndarray, dimensions: int, order: np.ndarray, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and standard errors [1 + draws, column] of the fit on all columns. dimensions: of y."""
    left, strength, right = np.linalg.svd(X, full_matrices=False)
    used = strength > EXACT * strength.max(initial=0)
    left, right, inverse = left[:, used], right[used], right[used].T / strength[used]
    solvers = left @ inverse.T  # [unit, column]: slopes are y @ solvers
    solved = (right**2).sum(0) > 1 - EXACT
    solvers = np.where(solved, solvers, 0.0)
    size = np.where(solved, 1 / np.maximum((solvers**2).sum(0), TINY), 0.0)  # |r_i|²
    residuals = solvers * size
    dof = dimensions - left.shape[1]
    slope, rest = y @ solvers, y - left @ (left.T @ y)
    smallest = EXACT**2 * (y @ y) + TINY
    permuted = rest[order] * signs
    lengths = np.concatenate([[rest @ rest], (permuted**2).sum(1) - ((permuted @ left) ** 2).sum(1)])
    squares = np.repeat(np.maximum(lengths, smallest)[:, None], len(slope), axis=1)
    squares[1:] += slope**2 * size * dof / dimensions
    refitted = np.array(
        [np.einsum("uc,uc->c", solvers, residuals[p] * s[:, None]) for p, s in zip(order, signs, strict=True)]
    )
    slopes = np.concatenate([slope[None], permuted @ solvers + slope * refitted.reshape(-1, len(slope))])
    errors = np.sqrt(squares / max(dof, 1) * np.divide(1.0, size, out=np.zeros_like(size), where=size > 0))
    return slopes, errors


def _single_fits(
    y: np.ndarray, X: np.ndarray, dimensions: int, order: np.ndarray, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same for fits on one column each: the scores themselves are permuted."""
    scores = np.concatenate([y[None], y[order] * signs])
    size = (X**2).sum(0)
    slopes = scores @ X / size
    left = np.maximum(y @ y - slopes**2 * size, EXACT**2 * (y @ y) + TINY)
    return slopes, np.sqrt(left / max(dimensions - 1, 1) / size)


def _flipped(
    units: np.ndarray, read: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The same for means of pairs of slopes [pair, concept], read where ``read``: signs of pairs flip."""
    count = read.sum(0)
    signs = np.concatenate([np.ones((1, len(units))), rng.choice([-1.0, 1.0], (draws, len(units)))])
    mean, total = signs @ units / np.maximum(count, 1), (units**2).sum(0)
    squares = np.maximum(total - mean**2 * count, EXACT**2 * total + TINY)
    shown = count > 1
    return mean * shown, np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1)) * shown


def _joined(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and errors of two parts, joined with inverse variances, without a part that does not show a concept."""
    values, errors = np.stack([first[0], second[0]]), np.stack([first[1], second[1]])
    shown = (errors > 0).any(1, keepdims=True)
    shares = _weights(np.where(shown, errors**2, np.nan), values)
    return (shares * values).sum(0), np.sqrt((shares**2 * errors**2).sum(0))


def _weights(variances: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64 [2, ...]: shares of two estimates that sum to 1. variances: NaN where unknown; values: NaN for none."""
    known = np.isfinite(variances)
    other = variances[::-1]
    total = np.where(known.all(0), variances.sum(0), 0.0)
    shares = np.divide(np.where(known, other, 0.0), total, out=np.full(variances.shape, 0.5), where=total > 0)
    shares = np.where(known.all(0), shares, np.where(known.any(0), known, 0.5))
    there = np.isfinite(values)
    return np.where(there.all(0), shares, np.where(there.any(0), there, 0.5))


def permutations(units: int, paired: bool, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Permutations of the units, int [draw, unit], and signs of pairs, 1 or -1, float64 [draw, unit]."""
    order = rng.permuted(np.tile(np.arange(units), (draws, 1)), axis=1)
    signs = rng.choice([-1.0, 1.0], (draws, units)) if paired else np.ones((draws, units))
    return order, signs
