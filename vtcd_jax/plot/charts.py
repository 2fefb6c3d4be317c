"""Charts of results: the ranking, a map of the heads, removal curves, layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.importance import Importance
from vtcd_jax.importance.curves import Curves
from vtcd_jax.report.drawing.charts import bands, order_style

from .axes import Axes, axes_or_new

# Okabe and Ito's colours, which colour-blind readers can distinguish.
BLUE, SKY, ORANGE, VERMILION = "#0072b2", "#56b4e9", "#e69f00", "#d55e00"
STYLES = {"most": (VERMILION, "-"), "random": ("0.45", ":"), "least": (BLUE, "--")}  # of a curve: colour, dashes


def ranking(values: Importance, concepts: Concepts, ax: Axes = None, *, top: int = 20) -> Axes:
    """The ``top`` concepts as bars, with 95 % intervals: thick for these clips, thin with caps for new clips."""
    ax = axes_or_new(ax)
    order, (these, new) = values.order()[:top], values.half_widths()
    position, value = np.arange(len(order)), values.importance[order]
    ax.barh(position, value, color=[SKY if v >= 0 else ORANGE for v in value])
    ax.errorbar(value, position, xerr=np.nan_to_num(new[order]), fmt="none", ecolor="0.2", elinewidth=1, capsize=2.5)
    ax.errorbar(value, position, xerr=np.nan_to_num(these[order]), fmt="none", ecolor="0.2", elinewidth=3)
    ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(position, [concepts.names[c] for c in order])
    ax.invert_yaxis()
    ax.set_xlabel(f"importance ({_words(values.score)})")
    return ax


def heads(values: Importance, concepts: Concepts, ax: Axes = None) -> Axes:
    """A map of layers and heads: the importance of the head's most important concept, with how many it has."""
    ax = axes_or_new(ax)
    best, count = head_map(values, concepts)
    layers = sorted({int(layer) for layer in concepts.layers})
    limit = float(np.nanmax(np.abs(best))) or 1.0
    image = ax.imshow(best, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower", aspect="auto")
    for row, column in np.argwhere(count > 0):
        ax.text(column, row, str(count[row, column]), ha="center", va="center", fontsize="small")
    ax.set_yticks(range(len(layers)), [str(layer) for layer in layers])
    ax.set_xticks(range(best.shape[1]))
    ax.set(xlabel="head", ylabel="layer")
    ax.figure.colorbar(image, ax=ax, label=f"largest importance ({_words(values.score)})")
    return ax


def head_map(values: Importance, concepts: Concepts) -> tuple[np.ndarray, np.ndarray]:
    """(largest importance float64 [layer, head], number of concepts int [layer, head]); NaN where there is none."""
    layers = np.unique(concepts.layers)
    row = np.searchsorted(layers, np.asarray(concepts.layers)[concepts.site])
    shape = (len(layers), int(concepts.head.max()) + 1)
    best, count = np.full(shape, -np.inf), np.zeros(shape, int)
    np.maximum.at(best, (row, concepts.head), values.importance)
    np.add.at(count, (row, concepts.head), 1)
    return np.where(count > 0, best, np.nan), count


def curves(values: Curves, ax: Axes = None) -> Axes:
    """Removal curves with 95 % intervals over clips; the legend gives the areas."""
    ax = axes_or_new(ax)
    mean, wide = bands(values.scores)
    for i, order in enumerate(values.orders):
        style, name = order_style(order)
        colour, dashes = STYLES[style]
        ax.plot(values.fraction, mean[i], dashes, color=colour, label=f"{name} ({values.areas[i]:.3f})")
        ax.fill_between(values.fraction, mean[i] - wide[i], mean[i] + wide[i], color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel="fraction of concepts removed", ylabel=_words(values.score), xlim=(0, 1))
    ax.legend(frameon=False, title="order (area)")
    return ax


def layers(values: Mapping[int | str, float], ax: Axes = None) -> Axes:
    """A bar per layer: mean normalised rank of its concepts, in [0, 1] (``importance.layer_importance``)."""
    ax = axes_or_new(ax)
    ax.bar([str(layer) for layer in values], list(values.values()), color=BLUE)
    ax.axhline(0.5, color="0.3", linestyle="--", linewidth=1)
    ax.set(xlabel="layer", ylabel="mean normalised rank", ylim=(0, 1))
    return ax


def _words(name: str) -> str:
    return name.replace("_", " ")
