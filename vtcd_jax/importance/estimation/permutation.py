"""Is an importance more than chance? For each concept, what the others leave unexplained is dealt anew among the masks.

    y  scores of a clip's masks, or half the differences of its complementary pairs     X  1 kept, -1 removed

The hypothesis of concept i is that its slope in the least-squares fit of y on all columns of X is 0. Then y is the fit
on the other columns and a residual e_i, whose entries may change places (Freedman & Lane 1983; pairs stay together and
may be turned around). Each deal is fitted again, so that strong concepts beside i are not taken for its noise:

    e_i = e + b_i r_i          e  residual of the whole fit    b_i  slope    r_i  residual of column i on the others
    t_i = Σ_v b_vi / s_i       over clips v, s_i² = Σ_v s_vi² the squared standard errors of the slopes

The noise's part in the length of a refitted residual is computed, that of ``b_i r_i`` is taken at its mean over deals.
A concept's p is the share of deals in which *any* concept's t is as far from 0 (Westfall & Young 1993): it holds for
all concepts together. With too few masks for a fit over all concepts each column is fitted alone.

Freedman & Lane, "A nonstochastic interpretation of reported significance levels", J. Bus. Econ. Stat. 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.base.random import generator, key_bytes
from vtcd_jax.models import Seed

from ..designs.random import Design, LeaveOneOut, Random
from .estimators import rows_read
from .formulas import played
from .result import groups_of, summed

LEAST_DOF = 5  # degrees of freedom below which a fit on all columns says too little of the noise
EXACT = 1e-9  # a residual this small beside the scores is rounding
TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class Null:
    """p: float64 [concept], for all concepts together, at least 1 / (draws + 1); NaN where the masks cannot tell.
    spread: float64 [concept], standard deviation of the importance where the concept does not matter; NaN likewise.
    draws: number of deals.
    """

    p: np.ndarray
    spread: np.ndarray
    draws: int


def permutation_null(
    estimator: str,
    design: Design,
    scores: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    key: Seed,
    draws: int = 400,
) -> Null:
    """How far from 0 each concept stands, beside what chance alone would show.

    scores: [video, mask], NaN anywhere: not run.  hashes: of the clips, equal ones are copies with the same deals.
    present: bool [video, concept].
    All NaN for exact drops (``estimator`` "drop"), which have no noise. NaN also for a concept that no mask removed,
    and where all masks of a clip that has every concept remove equally many (paper, released): they do not say where 0
    is.
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
        heights = np.abs(slopes.sum(0)) / error
    known = (error > 0).any(0)
    heights = np.nan_to_num(heights)
    p = (1 + (heights[1:].max(1)[:, None] >= heights[0] * (1 - EXACT)).sum(0)) / (draws + 1)
    spread = 2 * error[0] / len(scores)
    return Null(np.where(known, p, np.nan), np.where(known, spread, np.nan), draws)


def _clip(
    design: Design, scores: np.ndarray, clip_hash: str, present: np.ndarray, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and their standard errors [1 + draws, concept], as measured and in every deal; 0 for concepts of which
    the clip says nothing."""
    slopes, errors = np.zeros((2, 1 + draws, len(present)))
    rows = rows_read(design, scores, present)
    if not len(rows):
        return slopes, errors
    kept = design.rows(clip_hash, int(rows[0]), int(rows[-1]) + 1, present)[rows - rows[0]].astype(np.float64)
    shown = np.flatnonzero(played(kept) & present)
    y, columns = scores[rows].astype(np.float64), 2 * kept[:, shown] - 1
    if design.paired:
        y, columns = (y[0::2] - y[1::2]) / 2, columns[0::2]
    else:
        y, columns = y - y.mean(), columns - columns.mean(0)
    y = np.where(np.abs(y).max() > EXACT**1.5 * np.abs(scores[rows]).max(), y, 0.0)  # else all scores are equal
    columns, which = np.unique(columns, axis=1, return_inverse=True)  # concepts that go together are one
    places, signs = deals(len(y), design.paired, draws, rng)
    spare = len(y) - int(not design.paired)
    if spare - columns.shape[1] >= LEAST_DOF:
        found = _together(y, columns, spare, places, signs)
    elif isinstance(design, Random) and design.players == "all":
        return slopes, errors
    else:
        found = _alone(y, columns, spare, places, signs)
    slopes[:, shown], errors[:, shown] = (part[:, which.ravel()] for part in found)
    return slopes, errors


def _together(
    y: np.ndarray, X: np.ndarray, spare: int, places: np.ndarray, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes and standard errors [1 + draws, column] of the fit on all columns. spare: dimensions that y has."""
    left, strength, right = np.linalg.svd(X, full_matrices=False)
    used = strength > EXACT * strength.max(initial=0)
    left, right, inverse = left[:, used], right[used], right[used].T / strength[used]
    solvers = left @ inverse.T  # [unit, column]: slopes are y @ solvers
    solved = (right**2).sum(0) > 1 - EXACT
    solvers = np.where(solved, solvers, 0.0)
    size = np.where(solved, 1 / np.maximum((solvers**2).sum(0), TINY), 0.0)  # |r_i|²
    residuals = solvers * size
    dof = spare - left.shape[1]
    slope, rest = y @ solvers, y - left @ (left.T @ y)
    least = EXACT**2 * (y @ y) + TINY
    dealt = rest[places] * signs
    lengths = np.concatenate([[rest @ rest], (dealt**2).sum(1) - ((dealt @ left) ** 2).sum(1)])
    squares = np.repeat(np.maximum(lengths, least)[:, None], len(slope), axis=1)
    squares[1:] += slope**2 * size * dof / spare
    turned = np.array(
        [np.einsum("uc,uc->c", solvers, residuals[p] * s[:, None]) for p, s in zip(places, signs, strict=True)]
    )
    slopes = np.concatenate([slope[None], dealt @ solvers + slope * turned.reshape(-1, len(slope))])
    errors = np.sqrt(squares / max(dof, 1) * np.divide(1.0, size, out=np.zeros_like(size), where=size > 0))
    return slopes, errors


def _alone(
    y: np.ndarray, X: np.ndarray, spare: int, places: np.ndarray, signs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same of fits on one column each: the scores themselves are dealt."""
    every = np.concatenate([y[None], y[places] * signs])
    size = (X**2).sum(0)
    slopes = every @ X / size
    left = np.maximum(y @ y - slopes**2 * size, EXACT**2 * (y @ y) + TINY)
    return slopes, np.sqrt(left / max(spare - 1, 1) / size)


def deals(units: int, paired: bool, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which unit comes to each place, int [draw, unit], and whether a pair is turned around, 1 or -1 [draw, unit]."""
    places = rng.permuted(np.tile(np.arange(units), (draws, 1)), axis=1)
    signs = rng.choice([-1.0, 1.0], (draws, units)) if paired else np.ones((draws, units))
    return places, signs
