"""Contrasts of masks and slopes at random gates are joined over all clips of a ranking, concept by concept.

    x_1, s_1²   mean over clips of the contrasts, and its variance over draws of the masks
    x_2, s_2²   the same for slopes

Slopes have a bias that more of them do not remove (``designs.slopes``). On networks most of it is one factor for all
concepts. Masks have none, so their contrasts calibrate the slopes:

    x_1 = a x_2 + d + noise       a  the factor, d  the rest of the bias, with variance t² over the n concepts
    a  = Σ x_1 x_2 / Σ (x_2² - s_2²)                       least squares, corrected for the noise of x_2 (Fuller 1987)
    t² = max(0, Σ ((x_1 - a x_2)² - e²) / (n - 1)) + sqrt(2 Σ e⁴) / (n - 1),  e² = s_1² + a² s_2²
                                                           moments (DerSimonian and Laird 1986), and their standard
                                                           error: a bias that noise hides is not taken for none
    T² = a² s_2² + t² + x_2² var(a)                        the variance of a x_2

    p_1 = T² / (s_1² + T²),  p_2 = 1 - p_1                 value in clip v = p_1 x_1v + p_2 a x_2v

t² and var(a) are errors that all clips have in common (``Shared``): more clips do not average them out. So is what the
weights add because they are estimated too, the share 4 p_1 p_2 (p_1 / nu_1 + p_2 / nu_2) of the variance after Meier
(1953), "Variance of a weighted mean", Biometrics 9. Fuller, "Measurement Error Models"; DerSimonian & Laird,
"Meta-analysis in clinical trials", Control. Clin. Trials 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .formulas import Estimate, Shared
from .result import error_of_mean

FEWEST = 4  # concepts that show the bias; with fewer, masks count alone


@dataclass(frozen=True)
class Calibration:
    """scale: a.  scale_variance: var(a).  rest: t².  concepts: n."""

    scale: float
    scale_variance: float
    rest: float
    concepts: int


@dataclass(frozen=True)
class _Mean:
    """value, variance, dof: float64 [concept] each, of a mean over clips."""

    value: np.ndarray
    variance: np.ndarray
    dof: np.ndarray


def join(masks: Sequence[Estimate], slopes: Sequence[Estimate], groups: np.ndarray) -> tuple[list[Estimate], Shared]:
    """The joined estimate of each clip, and their shared error. groups: int [video], equal for copies of a clip.

    A part without a value, or with an unknown variance beside a known one, does not count; an exact contrast (variance
    0) counts alone. With fewer than ``FEWEST`` concepts that show the bias, contrasts count alone where there are any.
    """
    first, second = _mean(masks, groups), _mean(slopes, groups)
    found = calibration(first, second)
    if found is None:
        scale, bias = 1.0, np.full(first.value.shape, np.inf)
    else:
        scale, bias = found.scale, found.rest + second.value**2 * found.scale_variance
    own = scale**2 * second.variance  # the slopes' own variance
    shares = _shares(first, second, own + bias)
    estimates = [_one(a, b, shares, scale) for a, b in zip(masks, slopes, strict=True)]
    return estimates, _shared(first, second, shares, own, bias, found)


def calibration(masks: _Mean, slopes: _Mean) -> Calibration | None:
    """None with too few concepts."""
    x1, v1, x2, v2 = masks.value, masks.variance, slopes.value, slopes.variance
    with np.errstate(invalid="ignore"):
        used = np.isfinite(x1 + v1 + x2 + v2) & (v1 > 0)
    x1, v1, x2, v2 = (a[used] for a in (x1, v1, x2, v2))
    if len(x1) < FEWEST:
        return None
    size = float((x2**2 - v2).sum())
    if size <= (x2**2).sum() / 2:  # mostly noise, which shows no factor
        return Calibration(1.0, 0.0, _rest(x1 - x2, v1 + v2), len(x1))
    scale = float((x1 * x2).sum()) / size
    noise = v1 + scale**2 * v2
    rest = _rest(x1 - scale * x2, noise)
    return Calibration(scale, float((x2**2 * (noise + rest)).sum()) / size**2, rest, len(x1))


def _rest(apart: np.ndarray, noise: np.ndarray) -> float:
    """t²."""
    return (max(float((apart**2 - noise).sum()), 0.0) + float(2 * (noise**2).sum()) ** 0.5) / (len(apart) - 1)


def _mean(estimates: Sequence[Estimate], groups: np.ndarray) -> _Mean:
    error, dof = error_of_mean(estimates, groups)
    return _Mean(np.mean([e.value for e in estimates], axis=0), error**2, dof)


def _shares(masks: _Mean, slopes: _Mean, whole: np.ndarray) -> np.ndarray:
    """float64 [2, concept]: p_1 and p_2. whole: T², infinite where the bias is not known."""
    there, known = (
        np.stack([np.isfinite(a), np.isfinite(b)])
        for a, b in ((masks.value, slopes.value), (masks.variance, slopes.variance))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        first = np.where(np.isinf(whole), 1.0, whole / (masks.variance + whole))
    first = np.where(masks.variance == 0, 1.0, first)
    first = np.where(known.all(0), first, np.where(known[1] & ~known[0], 0.0, 1.0))
    first = np.where(there.all(0), first, np.where(there[1] & ~there[0], 0.0, 1.0))
    return np.stack([first, 1 - first])


def _one(masks: Estimate, slopes: Estimate, shares: np.ndarray, scale: float) -> Estimate:
    """A clip's estimate, with the part of its variance that is the clip's own."""
    parts = [(masks.value, masks.variance, masks.dof), (scale * slopes.value, scale**2 * slopes.variance, slopes.dof)]
    value, variance, squares = (np.zeros(masks.value.shape) for _ in range(3))
    for share, (x, v, dof) in zip(shares, parts, strict=True):
        value += np.where(share > 0, share * x, 0.0)
        own = np.where(share > 0, share**2 * v, 0.0)
        variance, squares = variance + own, squares + own**2 / dof
    with np.errstate(invalid="ignore", divide="ignore"):
        dof = np.where(squares > 0, variance**2 / squares, np.maximum(masks.dof, slopes.dof))
    return Estimate(value, variance, dof, masks.pooled or slopes.pooled)


def _shared(
    masks: _Mean, slopes: _Mean, shares: np.ndarray, own: np.ndarray, bias: np.ndarray, found: Calibration | None
) -> Shared:
    """The error of the means that all clips have in common."""
    both = (shares > 0).all(0)
    if found is None or not both.any():
        return Shared(np.zeros(both.shape), 1.0)
    with np.errstate(invalid="ignore"):
        total = shares[0] ** 2 * masks.variance + shares[1] ** 2 * (own + bias)
        weighing = 4 * shares.prod(0) * (shares[0] / masks.dof + shares[1] / slopes.dof)
        shared = shares[1] ** 2 * bias + weighing * total
    return Shared(np.where(both, shared, 0.0), found.concepts - 1.0)
