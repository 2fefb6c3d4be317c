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

Axes = Any  # matplotlib.axes.Axes, which is loaded only when one has to be made

_ORANGE, _SKY, _, _, _BLUE, _VERMILION, _ = (tuple(c / 255 for c in colour) for colour in PALETTE)
_STYLES = {"most": (_VERMILION, "-"), "random": ("0.45", ":"), "least": (_BLUE, "--")}


def curves(found: Curves, ax: Axes = None) -> Axes:
    """Removal curves with one standard error over clips; the legend gives the areas."""
    ax = _axes(ax)
    mean, error = bands(found)
    for i, order in enumerate(found.orders):
        style, name = order_style(order)
        colour, dashes = _STYLES[style]
        ax.plot(found.fraction, mean[i], dashes, color=colour, label=f"{name} ({found.areas[i]:.3f})")
        ax.fill_between(found.fraction, mean[i] - error[i], mean[i] + error[i], color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel="share of concepts removed", ylabel=found.score.replace("_", "-"), xlim=(0, 1))
    ax.legend(frameon=False, title="order (area)")
    return ax


def layers(found: Mapping[int | str, float], ax: Axes = None) -> Axes:
    """A bar per layer: mean rank share of its concepts, in [0, 1]."""
    ax = _axes(ax)
    ax.bar([str(layer) for layer in found], list(found.values()), color=_BLUE)
    ax.axhline(0.5, color="0.3", linestyle="--", linewidth=1)
    ax.set(xlabel="layer", ylabel="mean rank share", ylim=(0, 1))
    return ax


def importance(found: Importance, names: Sequence[str], ax: Axes = None, *, top: int = 20) -> Axes:
    """The ``top`` concepts as bars; thick error for these clips, thin with caps for new clips.

    names: one per concept.
    """
    ax = _axes(ax)
    order = found.order()[:top]
    place = np.arange(len(order))
    value, masks, videos = (x[order] for x in (found.importance, found.se_masks, found.se_videos))
    ax.barh(place, value, color=[_SKY if v >= 0 else _ORANGE for v in value])
    ax.errorbar(value, place, xerr=np.nan_to_num(videos), fmt="none", ecolor="0.2", elinewidth=1, capsize=2.5)
    ax.errorbar(value, place, xerr=np.nan_to_num(masks), fmt="none", ecolor="0.2", elinewidth=3)
    ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(place, [names[c] for c in order])
    ax.invert_yaxis()
    ax.set_xlabel(f"importance ({found.score.replace('_', '-')})")
    return ax


def _axes(ax: Axes) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots()[1]
