"""Student's intervals, and ranks. SciPy's statistics are loaded on first use: they take longer than all else here."""

from __future__ import annotations

import numpy as np


def half_width(se: np.ndarray, dof: np.ndarray | float | int, level: float) -> np.ndarray:
    """Half the width of the interval of a mean with this standard error and these degrees of freedom."""
    from scipy.stats import t

    return t.ppf((1 + level) / 2, dof) * se


def exceedance(height: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Probability that Student's variable lies above ``height``."""
    from scipy.stats import t

    return t.sf(height, dof)


def ranks(values: np.ndarray) -> np.ndarray:
    """From 1 along the last axis, equal values share their mean rank."""
    from scipy.stats import rankdata

    return rankdata(values, axis=-1)
