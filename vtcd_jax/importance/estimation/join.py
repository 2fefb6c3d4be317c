"""Contrasts of masks and slopes at random gates are joined over all clips of a ranking, concept by concept.

    x_1, s_1²   mean over clips of the contrasts, and its variance over draws of the masks
    x_2, s_2²   the same for slopes

Slopes have a bias that more of them do not remove (``designs.slopes``). On networks most of it is one factor for all
concepts. Masks have none, so their contrasts calibrate the slopes:

    x_1 = a x_2 + d + noise       a  the factor      d  the rest of the bias, larger for important concepts:
                                  var(d) = b² = t² q,  q = (c + |x_2| / mean |x_2|) / (c + 1),  c = FLOOR
    a  = Σ w x_1 x_2 / Σ w (x_2² - s_2²)                   least squares, corrected for the noise of x_2 (Fuller 1987)
    t² = (max(0, Σ w² q ((x_1 - a x_2)² - e²)) + sqrt(2 Σ w⁴ q² e⁴)) / Σ w² q²,     e² = s_1² + a² s_2²
                                                           moments (DerSimonian and Laird 1986), and their standard
                                                           error: a bias that noise hides is not taken for none
    w  = 1 / (e² + b²)                                     in a few rounds
    T² = a² s_2² + b² + x_2² var(a),  var(a) = 1 / Σ w x_2²                         the variance of a x_2

    p_1 = T² / (s_1² + T²),  p_2 = 1 - p_1                 value in clip v = p_1 x_1v + p_2 a x_2v

b² and var(a) are errors that all clips have in common (``Shared``): more clips do not average them out. So is what the
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
FLOOR = 0.05  # c: on four networks the bias of unimportant concepts is small, but not zero (docs/ranking.md)
ROUNDS = 3  # of the weights


@dataclass(frozen=True)
class _Calibration:
    """scale: a.  scale_variance: var(a).  rest: t².  size: mean |x_2|.  concepts: n."""

    scale: float
    scale_variance: float
    rest: float
    size: float
    concepts: int

    def bias(self, slopes: np.ndarray) -> np.ndarray:
        """b² + x_2² var(a), float64 [concept]: variance of what is left of the bias of ``slopes`` x_2."""
        return self.rest * _relative(slopes, self.size) + slopes**2 * self.scale_variance


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
    found = _calibration(first, second)
    if found is None:
        scale, bias = 1.0, np.full(first.value.shape, np.inf)
    else:
        scale, bias = found.scale, found.bias(second.value)
    own = scale**2 * second.variance  # the slopes' own variance
    shares = _shares(first, second, own + bias)
    estimates = [_one(a, b, shares, scale) for a, b in zip(masks, slopes, strict=True)]
    return estimates, _shared(first, second, shares, own, bias, found)


def _calibration(masks: _Mean, slopes: _Mean) -> _Calibration | None:
    """None with too few concepts."""
    x1, v1, x2, v2 = masks.value, masks.variance, slopes.value, slopes.variance
    with np.errstate(invalid="ignore"):
        used = np.isfinite(x1 + v1 + x2 + v2) & (v1 > 0)
    x1, v1, x2, v2 = (a[used] for a in (x1, v1, x2, v2))
    if len(x1) < FEWEST:
        return None
    size = float(np.abs(x2).mean()) or 1.0
    q, scale, rest = _relative(x2, size), 1.0, 0.0
    for _ in range(ROUNDS):
        noise = v1 + scale**2 * v2
        w = 1 / (noise + rest * q)
        scale = _scale(x1, x2, v2, w)
        moment = max(float((w**2 * q * ((x1 - scale * x2) ** 2 - noise)).sum()), 0.0)
        error = float((2 * w**4 * q**2 * noise**2).sum()) ** 0.5
        rest = (moment + error) / float((w**2 * q**2).sum())
    information = float((x2**2 / (v1 + scale**2 * v2 + rest * q)).sum())
    return _Calibration(scale, 1 / information if information > 0 else 0.0, rest, size, len(x1))


def _relative(slopes: np.ndarray, size: float) -> np.ndarray:
    """q."""
    return (FLOOR + np.abs(slopes) / size) / (FLOOR + 1)


def _scale(x1: np.ndarray, x2: np.ndarray, v2: np.ndarray, w: np.ndarray) -> float:
    """a; 1 where slopes are mostly noise, which shows no factor."""
    signal, whole = float((w * (x2**2 - v2)).sum()), float((w * x2**2).sum())
    return float((w * x1 * x2).sum()) / signal if signal > whole / 2 else 1.0


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
    masks: _Mean, slopes: _Mean, shares: np.ndarray, own: np.ndarray, bias: np.ndarray, found: _Calibration | None
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
