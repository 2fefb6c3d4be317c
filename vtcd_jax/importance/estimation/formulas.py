"""The formulas that turn scores and gates into importance, whatever made the gates. ``estimators`` says what they mean.

Each returns the value of every concept, with its variance over draws of the masks. A variance is NaN where the masks
are too few to show any: that an error is unknown must not read as that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vtcd_jax.models import InputError


@dataclass(frozen=True)
class Estimate:
    """One clip's importance.

    value:    float64 [concept]; 0 for a concept that the clip does not have, NaN for one that it has but whose
              influence the masks cannot show, because none of them removed it (or none kept it).
    variance: float64 [concept], of ``value`` over draws of the masks; NaN where the masks are too few to know it.
    dof:      degrees of freedom of ``variance``, one number or float64 [concept].
    pooled:   whether ``variance`` is one number for all concepts, from residuals; too few blocks for more.
    """

    value: np.ndarray
    variance: np.ndarray
    dof: float | np.ndarray
    pooled: bool = False


Scores = Float[np.ndarray, " mask"]
Kept = Float[np.ndarray, "mask concept"]


def contrast(y: Scores, kept: Kept) -> Estimate:
    """From independent masks: a difference of two means, with Welch's error."""
    times, centred = np.stack([kept.sum(0), (1 - kept).sum(0)]), y - y.mean()
    total = np.stack([centred @ kept, centred @ (1 - kept)])
    squares = np.stack([centred**2 @ kept, centred**2 @ (1 - kept)])
    least = len(y) - 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, within = total / times, np.maximum(squares - total**2 / times, 0)
        both_sides = within.sum(0) / least if least > 0 else np.nan
        spread = np.where(times > 1, within / (times - 1), both_sides)  # one mask alone shows no spread
        parts = spread / times
        variance = parts.sum(0)
        dof = variance**2 / (parts**2 / np.maximum(times - 1, 1)).sum(0)
    both = played(kept)
    value = np.where(both, mean[0] - mean[1], 0.0)
    return Estimate(value, np.where(both, variance, 0.0), np.where(both & (variance > 0), dof, max(least, 1)))


def paired_contrast(y: Scores, kept: Kept) -> Estimate:
    """From pairs of complements, rows 2k and 2k + 1: the mean over pairs of ``2 d X``."""
    half, both = (y[0::2] - y[1::2]) / 2, played(kept)
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

    Pairs are regressed through the origin by their differences. An effect that the masks leave open has value NaN: two
    concepts that always go together, or all of them where every mask removes equally many.
    Raises InputError for too few masks.
    """
    players = played(kept)
    X = (2 * kept - 1)[:, players]
    if paired:
        target, X = (y[0::2] - y[1::2]) / 2, X[0::2]
    else:
        target, X = y - y.mean(), X - X.mean(0)
    rows, spent = len(target), int(not paired)
    if len(y) < (need := regression_masks(X.shape[1], paired)):
        raise InputError(
            f"estimator 'regression' needs at least {need} masks for the {X.shape[1]} concepts of a clip, "
            f"got {len(y)}; raise --masks, or take --estimator contrast"
        )
    left, strength, right = np.linalg.svd(X, full_matrices=False)
    used = strength > 1e-9 * strength.max(initial=0)
    left, inverse = left[:, used], right[used].T / strength[used]
    residual = target - left @ (left.T @ target)
    dof = rows - spent - int(used.sum())
    leverage = np.minimum((left**2).sum(1) + spent / rows, 1 - 1e-9)
    smoother = 2 * inverse @ left.T  # [concept, row]
    solved = (right[used] ** 2).sum(0) > 1 - 1e-9
    value, variance = np.zeros(kept.shape[1]), np.zeros(kept.shape[1])
    value[players] = np.where(solved, smoother @ target, np.nan)
    variance[players] = np.where(solved, smoother**2 @ (residual**2 / (1 - leverage)), np.nan)
    return Estimate(value, variance, dof)


def regression_masks(players: int, paired: bool) -> int:
    """The fewest masks that least squares can be solved and judged with."""
    return 2 * (players + 1) if paired else players + 2


def played(kept: np.ndarray) -> np.ndarray:
    """bool [concept]: removed by some mask and kept by another."""
    return (kept.min(0, initial=1) < 1) & (kept.max(0, initial=0) > 0)


def mean_of_units(units: Float[np.ndarray, "unit concept"]) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean over independent units, the variance of that mean, its degrees of freedom; variance NaN for one unit."""
    count = len(units)
    variance = units.var(0, ddof=1) / count if count > 1 else np.full(units.shape[1], np.nan)
    return units.mean(0), variance, max(count - 1, 1)


def _draws(products: np.ndarray, paired: bool) -> np.ndarray:
    """[draw, concept]: what was drawn independently, masks or the means of pairs."""
    return (products[0::2] + products[1::2]) / 2 if paired else products
