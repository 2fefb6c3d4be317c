"""From scores of one clip's masked passes to the importance of each concept, with the noise of the masks.

    y_k      score of mask k            y_0  score with nothing removed
    M_ki     1 where mask k keeps concept i, else 0;  X = 2 M - 1

    contrast     mean(y | kept) - mean(y | removed): a centred estimate of the Banzhaf value, 0 for no influence
    regression   twice the slopes of y on X, by least squares: the same value, free of the other concepts' own effects
    paper        mean_k (y_0 - y_k)(1 - M_ki)                Kowal et al. (2024), equation 6
    released     Σ_k y_k M_ki                                 the authors' code: not centred, not divided
    drop         y_0 - y_k where mask k removes i alone       occlusion

All are "higher is more important". Masks that come in complementary pairs are read by their differences
``d = (y(M) - y(1 - M)) / 2``; whole Hadamard blocks by their columns, where contrast and regression are one
(``hadamard_estimate``). Wang & Jia (2023), "Data Banzhaf"; Liu et al. (2024), "Kernel Banzhaf"; Smyth (2004), "Linear
models and empirical Bayes methods for assessing differential expression in microarray experiments".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from vtcd_jax.models import InputError

from .blocks import Hadamard
from .designs import Design, LeaveOneOut

LEAST_BLOCKS = 3  # whole blocks from which each concept has an error of its own; with fewer they are pooled
POOLED_DOF = 4  # degrees of freedom that the pooled error counts for beside a concept's own


@dataclass(frozen=True)
class Estimate:
    """One clip's importance.

    value:    float64 [concept], 0 for a concept that no mask removed.
    variance: float64 [concept], of ``value`` over draws of the masks.
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
    least = max(len(y) - 2, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, within = total / times, np.maximum(squares - total**2 / times, 0)
        spread = np.where(times > 1, within / (times - 1), within.sum(0) / least)  # one mask alone shows no spread
        parts = spread / times
        variance = parts.sum(0)
        dof = variance**2 / (parts**2 / np.maximum(times - 1, 1)).sum(0)
    both = played(kept)
    value = np.where(both, mean[0] - mean[1], 0.0)
    return Estimate(value, np.where(both, variance, 0.0), np.where(both & (variance > 0), dof, least))


def paired_contrast(y: Scores, kept: Kept) -> Estimate:
    """From pairs of complements, rows 2k and 2k + 1: the mean over pairs of ``2 d X``."""
    half = (y[0::2] - y[1::2]) / 2
    signs = np.where(played(kept), 2 * kept[0::2] - 1, 0.0)
    mean = half @ signs / len(half)
    spread = np.maximum(half**2 @ signs**2 / len(half) - mean**2, 0) / max(len(half) - 1, 1)
    return Estimate(2 * mean, 4 * spread, max(len(half) - 1, 1))


def paper(y: Scores, kept: Kept, baseline: float) -> Estimate:
    return _mean_of_products(baseline - y, 1 - kept)


def released(y: Scores, kept: Kept) -> Estimate:
    """A sum over masks, so it grows with their number."""
    found, masks = _mean_of_products(y, kept), len(y)
    return Estimate(found.value * masks, found.variance * masks**2, found.dof)


def drop(y: Scores, kept: Kept, baseline: float) -> Estimate:
    """Each row removes one concept alone; exact, so without variance. Raises InputError for other rows."""
    if ((1 - kept).sum(1) > 1).any():
        raise InputError("estimator 'drop' reads masks that remove one concept alone; take --design leave-one-out")
    return Estimate((baseline - y) @ (1 - kept), np.zeros(kept.shape[1]), 1.0)


def regression(y: Scores, kept: Kept, paired: bool) -> Estimate:
    """Least squares with errors that hold for any distribution of the residuals (HC2).

    Pairs are regressed through the origin by their differences. Masks that all remove equally many concepts leave one
    direction open, the mean of all effects; it is set to 0, as their contrast does.
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
    value, variance = np.zeros(kept.shape[1]), np.zeros(kept.shape[1])
    value[players], variance[players] = smoother @ target, smoother**2 @ (residual**2 / (1 - leverage))
    return Estimate(value, variance, dof)


def regression_masks(players: int, paired: bool) -> int:
    """The fewest masks that least squares can be solved and judged with."""
    return 2 * (players + 1) if paired else players + 2


def hadamard_estimate(y: Scores, design: Hadamard, clip_hash: str, present: np.ndarray) -> Estimate:
    """From whole blocks: every column's contrast, the players' and those that no one has.

    A column's variance is that between blocks, mixed with the pooled one of all columns (Smyth 2004): a few blocks can
    agree by chance. A column that no one has is hit by every interaction, a player's by those without it, so the pooled
    variance rather is too large than too small.
    """
    size, numbers = design.block_rows(present), design.players(present)
    count, effects, spare = len(y) // size, [], []
    for block in range(count):
        signs, part = design.signs(clip_hash, block, int(numbers.max()) + 1), y[block * size : (block + 1) * size]
        halves = (part[0::2] - part[1::2]) / 2 if design.folded else part
        columns = 2 * (halves @ signs.matrix) / len(halves)
        effects.append(columns[: signs.players])
        spare.append(columns[signs.players :])
    by_block, nobodys = np.array(effects), np.array(spare)
    own = (count - 1) * by_block.var(0, ddof=1) if count > 1 else np.zeros(by_block.shape[1])  # sums of squares
    dof = nobodys.size + own.size * (count - 1)
    variance, pooled = np.full(own.size, ((nobodys**2).sum() + own.sum()) / dof), count < LEAST_BLOCKS
    if not pooled:
        dof = count - 1 + POOLED_DOF
        variance = (own + POOLED_DOF * variance) / dof
    value = np.where(numbers >= 0, by_block.mean(0)[numbers], 0.0)
    return Estimate(value, np.where(numbers >= 0, variance[numbers] / count, 0.0), dof, pooled)


def _mean_of_products(y: np.ndarray, picked: np.ndarray) -> Estimate:
    """Mean over masks of ``y · picked`` and the variance of that mean; ``picked`` is 0 or 1."""
    mean = y @ picked / len(y)
    spread = np.maximum(y**2 @ picked / len(y) - mean**2, 0) / max(len(y) - 1, 1)
    return Estimate(mean, spread, max(len(y) - 1, 1))


def played(kept: np.ndarray) -> np.ndarray:
    """bool [concept]: removed by some mask and kept by another."""
    return (kept.min(0) < 1) & (kept.max(0) > 0)


ESTIMATORS = ("contrast", "regression", "paper", "released", "drop")


def default_estimator(design: Design) -> str:
    """The drop for leave-one-out, else the contrast, which any number of masks will do for."""
    return "drop" if isinstance(design, LeaveOneOut) else "contrast"


def estimate(
    estimator: str, design: Design, y: np.ndarray, baseline: float, clip_hash: str, present: np.ndarray
) -> Estimate:
    """One clip's importance from its scores [mask] under the first rows of a design.

    Raises InputError for an unknown estimator, and for too few masks.
    """
    if estimator not in ESTIMATORS:
        raise InputError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    y = np.asarray(y, np.float64)
    y = y[: len(y) // 2 * 2] if design.paired else y  # whole pairs
    whole = design.block_rows(present) if isinstance(design, Hadamard) and present.any() else 0
    if isinstance(design, Hadamard) and 0 < whole <= len(y) and estimator in ("contrast", "regression"):
        return hadamard_estimate(y[: len(y) // whole * whole], design, clip_hash, present)
    kept = design.rows(clip_hash, 0, len(y), present).astype(np.float64)
    if estimator == "regression" and isinstance(design, Hadamard) and whole:
        ones, numbers = design.representatives(present), design.players(present)
        found = regression(y, kept[:, ones], design.paired)
        value, variance = (np.where(numbers >= 0, part[numbers], 0.0) for part in (found.value, found.variance))
        return Estimate(value, variance, found.dof)
    return from_rows(estimator, y, kept, float(baseline), paired=design.paired)


def from_rows(
    estimator: str,
    y: Shaped[np.ndarray, " mask"],
    kept: Shaped[np.ndarray, "mask concept"],
    baseline: float = 0.0,
    *,
    paired: bool = False,
) -> Estimate:
    """One clip's importance from its scores and gates, whatever made them. paired: rows 2k, 2k + 1 are complements."""
    y, kept = np.asarray(y, np.float64), np.asarray(kept, np.float64)
    if estimator == "contrast":
        return paired_contrast(y, kept) if paired else contrast(y, kept)
    if estimator == "regression":
        return regression(y, kept, paired)
    if estimator == "released":
        return released(y, kept)
    return {"paper": paper, "drop": drop}[estimator](y, kept, baseline)
