"""Formulas of the estimators (see ``estimators``): importance from scores and gates of any design.

Each returns the value of every concept, with its variance over draws of the masks. A variance is NaN where there are
too few masks to estimate it: an unknown error must not look like no error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vtcd_jax.models import InputError


@dataclass(frozen=True)
class Estimate:
    """One clip's importance.

    value:    float64 [concept]; 0 for a concept that the clip does not have, NaN for a concept whose influence the
              masks cannot show, because none of them removed it (or none kept it).
    variance: float64 [concept], of ``value`` over draws of the masks; NaN where there are too few masks to estimate it.
    dof:      degrees of freedom of ``variance``, one number or float64 [concept].
    pooled:   whether ``variance`` is pooled over all concepts, because there are too few blocks.
    """

    value: np.ndarray
    variance: np.ndarray
    dof: float | np.ndarray
    pooled: bool = False


@dataclass(frozen=True)
class Shared:
    """An error that all clips of a ranking have in common, so that it does not average out over them.

    variance: float64 [concept], of the mean over clips.  dof: its degrees of freedom.
    """

    variance: np.ndarray
    dof: float


Scores = Float[np.ndarray, " mask"]
Kept = Float[np.ndarray, "mask concept"]


def contrast(y: Scores, kept: Kept) -> Estimate:
    """From independent masks: a difference of two means, with Welch's error."""
    times, centred = np.stack([kept.sum(0), (1 - kept).sum(0)]), y - y.mean()
    total = np.stack([centred @ kept, centred @ (1 - kept)])
    squares = np.stack([centred**2 @ kept, centred**2 @ (1 - kept)])
    rest = len(y) - 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, within = total / times, np.maximum(squares - total**2 / times, 0)
        both_sides = within.sum(0) / rest if rest > 0 else np.nan
        variances = np.where(times > 1, within / (times - 1), both_sides)  # one mask alone shows no variance
        terms = variances / times
        variance = terms.sum(0)
        dof = variance**2 / (terms**2 / np.maximum(times - 1, 1)).sum(0)
    both = removed_and_kept(kept)
    value = np.where(both, mean[0] - mean[1], 0.0)
    return Estimate(value, np.where(both, variance, 0.0), np.where(both & (variance > 0), dof, max(rest, 1)))


def paired_contrast(y: Scores, kept: Kept) -> Estimate:
    """From pairs of complements, rows 2k and 2k + 1: the mean over pairs of ``2 d X``."""
    half, both = (y[0::2] - y[1::2]) / 2, removed_and_kept(kept)
    mean, variance, dof = mean_of_units(half[:, None] * np.where(both, 2 * kept[0::2] - 1, 0.0))
    return Estimate(2 * mean, np.where(both, 4 * variance, 0.0), dof)


def paper(y: Scores, kept: Kept, baseline: float, paired: bool) -> Estimate:
    """Equation 6. The two masks of a pair are one draw."""
    return Estimate(*mean_of_units(_draws((baseline - y)[:, None] * (1 - kept), paired)))


def released(y: Scores, kept: Kept, paired: bool) -> Estimate:
    """A sum over masks, so it grows with their number."""
    mean, variance, dof = mean_of_units(_draws(y[:, None] * kept, paired))
    return Estimate(mean * len(y), variance * len(y) ** 2, dof)


def drop(y: Scores, kept: Kept, baseline: float) -> Estimate:
    """Each row removes one concept alone; exact, so without variance. Raises InputError for other rows."""
    if ((1 - kept).sum(1) > 1).any():
        raise InputError("estimator 'drop' reads masks that remove one concept alone; take --design leave-one-out")
    return Estimate((baseline - y) @ (1 - kept), np.zeros(kept.shape[1]), 1.0)


def regression(y: Scores, kept: Kept, paired: bool) -> Estimate:
    """Least squares with errors that hold for any distribution of the residuals (HC2).

    Pairs are regressed through the origin by their differences. An effect that the masks do not determine is NaN: that
    of two concepts that are always removed together, or of all concepts where every mask removes equally many.
    Raises InputError for too few masks.
    """
    players = removed_and_kept(kept)
    X = (2 * kept - 1)[:, players]
    if paired:
        target, X = (y[0::2] - y[1::2]) / 2, X[0::2]
    else:
        target, X = y - y.mean(), X - X.mean(0)
    rows, used_dof = len(target), int(not paired)
    if len(y) < (need := regression_masks(X.shape[1], paired)):
        raise InputError(
            f"estimator 'regression' needs at least {need} masks for the {X.shape[1]} concepts of a clip, "
            f"got {len(y)}; raise --masks, or take --estimator contrast"
        )
    left, strength, right = np.linalg.svd(X, full_matrices=False)
    used = strength > 1e-9 * strength.max(initial=0)
    left, inverse = left[:, used], right[used].T / strength[used]
    residual = target - left @ (left.T @ target)
    dof = rows - used_dof - int(used.sum())
    leverage = np.minimum((left**2).sum(1) + used_dof / rows, 1 - 1e-9)
    smoother = 2 * inverse @ left.T  # [concept, row]
    solved = (right[used] ** 2).sum(0) > 1 - 1e-9
    value, variance = np.zeros(kept.shape[1]), np.zeros(kept.shape[1])
    value[players] = np.where(solved, smoother @ target, np.nan)
    variance[players] = np.where(solved, smoother**2 @ (residual**2 / (1 - leverage)), np.nan)
    return Estimate(value, variance, dof)


def regression_masks(players: int, paired: bool) -> int:
    """The smallest number of masks for least squares and its errors."""
    return 2 * (players + 1) if paired else players + 2


def removed_and_kept(kept: np.ndarray) -> np.ndarray:
    """bool [concept]: removed by some mask and kept by another."""
    return (kept.min(0, initial=1) < 1) & (kept.max(0, initial=0) > 0)


def mean_of_units(units: Float[np.ndarray, "unit concept"]) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean over independent units, the variance of that mean, its degrees of freedom; variance NaN for one unit."""
    count = len(units)
    variance = units.var(0, ddof=1) / count if count > 1 else np.full(units.shape[1], np.nan)
    return units.mean(0), variance, max(count - 1, 1)


def _draws(products: np.ndarray, paired: bool) -> np.ndarray:
    """[draw, concept]: values of independent draws, masks or means of pairs."""
    return (products[0::2] + products[1::2]) / 2 if paired else products
