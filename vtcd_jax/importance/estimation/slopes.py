"""Importance from slopes at random gates (see ``designs.slopes``): the mean slope where a concept's own gate is drawn.

    u_ki    mean slope of gate i over the two rows of pair k        n_i  pairs in which gate i is drawn

    value = mean_k u_ki      variance = (Σ_k (u_ki - value)² + 2 s²) / (n_i + 1) / n_i      n_i + 1 degrees of freedom

The rows of a pair are complements, so a pair is one unit, as with masks. s² is the variance of u pooled over concepts,
which counts as two degrees of freedom (Smyth 2004): slopes have skewed distributions, and where the few large ones are
missed by chance, both the value and its own variance are too small.
"""

from __future__ import annotations

import numpy as np

from .formulas import Estimate

POOLED_DOF = 2  # degrees of freedom of the pooled variance; with 0 intervals from 16 rows are too narrow (90 to 92 %)


def slope_estimate(slopes: np.ndarray, drawn: np.ndarray) -> Estimate:
    """From slopes [row, concept] and the drawn gates, bool [row, concept]; whole pairs. NaN where a gate is never
    drawn; the variances are NaN where no gate is drawn twice."""
    units, read = units_of(slopes, drawn)
    count = read.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = units.sum(0) / count
        squares, own = (np.where(read, units - mean, 0.0) ** 2).sum(0), np.maximum(count - 1, 0)
        pooled = squares.sum() / own.sum()
        dof = own + POOLED_DOF
        variance = (squares + POOLED_DOF * pooled) / dof / count
    return Estimate(mean, np.where(count > 0, variance, np.nan), dof)


def units_of(slopes: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(means over pairs, float64 [pair, concept], 0 where the gate is not drawn; whether it is drawn)."""
    read = drawn[0::2]
    return np.where(read, (slopes[0::2].astype(np.float64) + slopes[1::2]) / 2, 0.0), read
