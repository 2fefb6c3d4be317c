"""Two independent estimates of the same importance are joined, concept by concept, with inverse variances.

    p_1 = s_2² / (s_1² + s_2²),  p_2 = 1 - p_1        value = p_1 x_1 + p_2 x_2

    variance = s_1² s_2² / (s_1² + s_2²) · (1 + 4 Σ_k p_k (1 - p_k) / nu_k)        1 / nu = Σ_k p_k² / nu_k

The factor and the degrees of freedom account for weights that are estimated too: with known variances the factor would
be 1. Meier (1953), "Variance of a weighted mean", Biometrics 9.

An estimate with an unknown variance does not count beside one with a known one, one without a value never does. An
exact estimate (variance 0) counts alone. Two of the same kind have equal weights.
"""

from __future__ import annotations

import numpy as np

from .formulas import Estimate


def join(first: Estimate, second: Estimate) -> Estimate:
    """The joined estimate of one clip."""
    values, variances = np.stack([first.value, second.value]), np.stack([first.variance, second.variance])
    dof = np.stack([np.broadcast_to(np.asarray(e.dof, float), e.value.shape) for e in (first, second)])
    shares = weights(np.where(np.isnan(values), np.nan, variances), values)
    counted = shares > 0
    value = np.where(counted, shares * np.where(counted, values, 0.0), 0.0).sum(0)
    with np.errstate(invalid="ignore"):
        known = np.where(counted, shares**2 * np.where(counted, variances, 0.0), 0.0).sum(0)
        variance = known * (1 + 4 * (shares * (1 - shares) / dof).sum(0))
    missing = np.isnan(values).all(0)
    return Estimate(
        np.where(missing, np.nan, value),
        np.where(missing, np.nan, variance),
        1 / (shares**2 / dof).sum(0),
        first.pooled or second.pooled,
    )


def weights(variances: np.ndarray, values: np.ndarray) -> np.ndarray:
    """float64 [2, ...]: shares of two estimates that sum to 1. variances: NaN where unknown; values: NaN for none."""
    known = np.isfinite(variances)
    other = variances[::-1]
    total = np.where(known.all(0), variances.sum(0), 0.0)
    shares = np.divide(np.where(known, other, 0.0), total, out=np.full(variances.shape, 0.5), where=total > 0)
    shares = np.where(known.all(0), shares, np.where(known.any(0), known, 0.5))
    there = np.isfinite(values)
    return np.where(there.all(0), shares, np.where(there.any(0), there, 0.5))
