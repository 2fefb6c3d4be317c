"""Axes of matplotlib, made where none are given."""

from __future__ import annotations

from typing import Any

from vtcd_jax.base.errors import InputError

Axes = Any
"""matplotlib.axes.Axes; matplotlib is imported only if needed."""


def axes_or_new(ax: Axes, size: tuple[float, float] | None = None) -> Axes:
    """The given axes, or those of a new figure. size: of it, in inches.

    Raises InputError where matplotlib is not installed.
    """
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise InputError('matplotlib is not installed: pip install "vtcd-jax[viz]"') from None
    return plt.subplots(figsize=size, layout="constrained")[1]
