"""From scores of masked passes to the importance of each concept, with standard errors.

    y_k      score of mask k            y_0  score with nothing removed
    M_ki     1 where mask k keeps concept i, else 0

    contrast   mean(y | kept) - mean(y | removed): a centred estimate of the Banzhaf value, 0 for no influence
    paper      mean_k (y_0 - y_k)(1 - M_ki)                Kowal et al. (2024), equation 6
    released   Σ_k y_k M_ki                                 the authors' code: not centred, not divided

All are "higher is more important" and are averaged over clips. Standard errors come from the spread of the terms over
the masks of one clip (``for these clips``) and from the spread of the clips' values (``for new clips``).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from vtcd_jax.models import InputError

Estimate = tuple[np.ndarray, np.ndarray]


def contrast(y: Float[np.ndarray, " mask"], kept: Float[np.ndarray, "mask concept"], baseline: float) -> Estimate:
    """(value, variance over masks), each [concept]; 0 with variance 0 where a concept was always kept."""
    times_kept, times_removed = kept.sum(0), (1 - kept).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_kept, mean_removed = y @ kept / times_kept, y @ (1 - kept) / times_removed
        centred = y - y.mean()
        spread_kept = (centred**2 @ kept - (centred @ kept) ** 2 / times_kept) / (times_kept - 1)
        spread_removed = (centred**2 @ (1 - kept) - (centred @ (1 - kept)) ** 2 / times_removed) / (times_removed - 1)
        value = mean_kept - mean_removed
        variance = spread_kept / times_kept + spread_removed / times_removed
    played = (times_kept > 0) & (times_removed > 0)
    return np.where(played, value, 0.0), np.where(played & np.isfinite(variance), np.maximum(variance, 0), 0.0)


def paper(y: Float[np.ndarray, " mask"], kept: Float[np.ndarray, "mask concept"], baseline: float) -> Estimate:
    """(value, variance over masks), each [concept]."""
    return _mean_of_products(baseline - y, 1 - kept)


def released(y: Float[np.ndarray, " mask"], kept: Float[np.ndarray, "mask concept"], baseline: float) -> Estimate:
    """(value, variance over masks), each [concept]: a sum over masks, so it grows with their number."""
    value, variance = _mean_of_products(y, kept)
    return value * len(y), variance * len(y) ** 2


def _mean_of_products(y: np.ndarray, picked: np.ndarray) -> Estimate:
    """Mean over masks of ``y · picked`` and the variance of that mean; ``picked`` is 0 or 1."""
    mean = y @ picked / len(y)
    spread = np.maximum(y**2 @ picked / len(y) - mean**2, 0) * len(y) / max(len(y) - 1, 1)
    return mean, spread / len(y)


ESTIMATORS = {"contrast": contrast, "paper": paper, "released": released}


def per_clip(
    estimator: str,
    scores: Float[np.ndarray, " mask"],
    kept: Shaped[np.ndarray, "mask concept"],
    baseline: float,
) -> Estimate:
    """One clip's importance and its variance over masks, float64 [concept]. Raises InputError for an unknown name."""
    if estimator not in ESTIMATORS:
        raise InputError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[estimator](np.asarray(scores, np.float64), np.asarray(kept, np.float64), float(baseline))
