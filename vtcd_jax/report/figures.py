"""The report's charts with matplotlib, drawn into the user's axes, for notebooks and papers.

Each function takes ``ax`` (or makes one), draws, and returns it; nothing is shown or saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtcd_jax.importance.curves import Curves
from vtcd_jax.importance.estimation.result import Importance

from .charts import bands, order_style
from .overlays import PALETTE

Axes = Any  # matplotlib.axes.Axes; matplotlib is imported only if needed

_ORANGE, _SKY, _, _, _BLUE, _VERMILION, _ = (tuple(c / 255 for c in colour) for colour in PALETTE)
_STYLES = {"most": (_VERMILION, "-"), "random": ("0.45", ":"), "least": (_BLUE, "--")}


def curves(values: Curves, ax: Axes = None) -> Axes:
    """Removal curves with one standard error over clips; the legend gives the areas."""
    ax = _axes(ax)
    mean, error = bands(values)
    for i, order in enumerate(values.orders):
        style, name = order_style(order)
        colour, dashes = _STYLES[style]
        ax.plot(values.fraction, mean[i], dashes, color=colour, label=f"{name} ({values.areas[i]:.3f})")
        ax.fill_between(values.fraction, mean[i] - error[i], mean[i] + error[i], color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel="fraction of concepts removed", ylabel=values.score.replace("_", "-"), xlim=(0, 1))
    ax.legend(frameon=False, title="order (area)")
    return ax


def layers(values: Mapping[int | str, float], ax: Axes = None) -> Axes:
    """A bar per layer: mean normalised rank of its concepts, in [0, 1]."""
    ax = _axes(ax)
    ax.bar([str(layer) for layer in values], list(values.values()), color=_BLUE)
    ax.axhline(0.5, color="0.3", linestyle="--", linewidth=1)
    ax.set(xlabel="layer", ylabel="mean normalised rank", ylim=(0, 1))
    return ax


def importance(values: Importance, names: Sequence[str], ax: Axes = None, *, top: int = 20) -> Axes:
    """The ``top`` concepts as bars; thick error for these clips, thin with caps for new clips.

    names: one per concept.
    """
    ax = _axes(ax)
    order = values.order()[:top]
    position = np.arange(len(order))
    value, masks, videos = (x[order] for x in (values.importance, values.se_masks, values.se_videos))
    ax.barh(position, value, color=[_SKY if v >= 0 else _ORANGE for v in value])
    ax.errorbar(value, position, xerr=np.nan_to_num(videos), fmt="none", ecolor="0.2", elinewidth=1, capsize=2.5)
    ax.errorbar(value, position, xerr=np.nan_to_num(masks), fmt="none", ecolor="0.2", elinewidth=3)
    ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(position, [names[c] for c in order])
    ax.invert_yaxis()
    ax.set_xlabel(f"importance ({values.score.replace('_', '-')})")
    return ax


def _axes(ax: Axes) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots()[1]
