"""Student's intervals, and ranks. SciPy's statistics are loaded on first use, because their import is slow."""

from __future__ import annotations

from typing import overload

import numpy as np


@overload
def half_width(se: float, dof: float | int, level: float) -> float: ...


@overload
def half_width(se: np.ndarray, dof: np.ndarray | float | int, level: float) -> np.ndarray: ...


def half_width(se: np.ndarray | float, dof: np.ndarray | float | int, level: float) -> np.ndarray | float:
    """Half the width of Student's interval for a mean, from its standard error and degrees of freedom."""
    from scipy.stats import t

    return t.ppf((1 + level) / 2, dof) * se


def survival(t_value: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Survival function of Student's distribution: the probability of values above ``t_value``."""
    from scipy.stats import t

    return t.sf(t_value, dof)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 along the last axis; equal values get their mean rank."""
    from scipy.stats import rankdata

    return rankdata(values, axis=-1)
