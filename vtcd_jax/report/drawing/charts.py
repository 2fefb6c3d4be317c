"""The report's charts: removal curves, layers, importance with its errors, overlap with true masks.

Each function returns one ``<svg>``. The page gives all numbers of the drawings as text too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtcd_jax.base.statistics import half_width
from vtcd_jax.importance.curves import Curves
from vtcd_jax.importance.estimation.convergence import Convergence

from . import svg

LEVEL = 0.95  # of all intervals

# Order of a curve -> (its class in the page's style, its name).
ORDERS = {
    "most-first": ("most", "most important first"),
    "random": ("random", "random order"),
    "least-first": ("least", "least important first"),
}
WIDTH, HEIGHT = 480.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 30.0, 42.0


def order_style(order: str) -> tuple[str, str]:
    """(class, name) of a curve."""
    return ORDERS.get(order, ("random", order))


def bands(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over clips, and half the width of its 95 % interval (0 with one clip). scores: [..., video, step]."""
    clips, mean = scores.shape[-2], scores.mean(-2)
    if clips == 1:
        return mean, np.zeros_like(mean)
    return mean, half_width(scores.std(-2, ddof=1) / math.sqrt(clips), clips - 1, LEVEL)


def area_half_width(scores: np.ndarray, fraction: np.ndarray) -> float:
    """Half the width of the 95 % interval of the area under a curve; NaN with one clip. scores: [video, step]."""
    areas, clips = np.trapezoid(scores, fraction, axis=1), len(scores)
    return float(half_width(areas.std(ddof=1) / math.sqrt(clips), clips - 1, LEVEL)) if clips > 1 else math.nan


def curve_chart(curves: Curves, title: str, controls: Sequence[tuple[str, np.ndarray]] = ()) -> str:
    """Mean score over the fraction of concepts removed, one line per order, with its 95 % interval over clips.

    title: above the y axis.  controls: (style, float [video, step]), scores while their groups are removed.
    """
    every = [curves.scores, *(scores[None] for _, scores in controls)]
    least, most = min(float(v.min()) for v in every), max(float(v.max()) for v in every)
    ranges = [tuple(np.clip(mean + sign * wide, least, most) for sign in (-1, 1)) for mean, wide in map(bands, every)]
    mean, (low, high) = bands(curves.scores)[0], ranges[0]  # within the range of the scores, such as [0, 1]
    marks = svg.ticks(min(float(lows.min()) for lows, _ in ranges), max(float(highs.max()) for _, highs in ranges))
    x = svg.linear(0, 1, LEFT, WIDTH - RIGHT)
    y = svg.linear(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(marks, y), svg.text(LEFT, 16, title, class_="axis")]
    for fraction in (0, 0.25, 0.5, 0.75, 1):
        anchor = "end" if fraction == 1 else "middle"
        parts.append(svg.text(x(fraction), HEIGHT - BOTTOM + 18, f"{fraction:.0%}", anchor))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "concepts removed", "middle", "axis"))
    across = [x(f) for f in curves.fraction]
    rows = sorted(range(len(curves.orders)), key=lambda i: curves.orders[i] != "random")  # random lies below the others
    for i in rows:
        outline = svg.points(across + across[::-1], [y(v) for v in (*high[i], *low[i][::-1])])
        parts.append(svg.element("polygon", points=outline, class_=f"band {order_style(curves.orders[i])[0]}"))
    for (style, scores), (lows, highs) in zip(controls, ranges[1:], strict=True):
        outline = svg.points(across + across[::-1], [y(v) for v in (*highs[0], *lows[0][::-1])])
        parts.append(svg.element("polygon", points=outline, class_=f"band {style}"))
        path = svg.points(across, [y(v) for v in scores.mean(0)])
        parts.append(svg.element("polyline", points=path, class_=f"curve {style}"))
    for i in rows:
        path = svg.points(across, [y(v) for v in mean[i]])
        parts.append(svg.element("polyline", points=path, class_=f"curve {order_style(curves.orders[i])[0]}"))
    label = f"{title} while concepts are removed: " + ", ".join(
        f"{order_style(order)[1]} ends at {mean[i, -1]:.3g} from {mean[i, 0]:.3g} with area {curves.areas[i]:.3g}"
        for i, order in enumerate(curves.orders)
    )
    return svg.drawing(WIDTH, HEIGHT, "".join(parts), label, "chart")


def convergence_chart(curve: Convergence, title: str) -> str:
    """Rank correlation of two halves of the masks, over the number of masks of each half, with its interval."""
    marks = svg.ticks(min(0.0, float(curve.low.min())), 1.0)
    last = float(curve.masks[-1])
    x, y = svg.linear(0, last, LEFT, WIDTH - RIGHT), svg.linear(marks[0], marks[-1], HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(marks, y), svg.text(LEFT, 16, title, class_="axis")]
    for fraction in (0, 0.5, 1):
        anchor = "end" if fraction == 1 else "middle"
        parts.append(svg.text(x(fraction * last), HEIGHT - BOTTOM + 18, f"{round(fraction * last)}", anchor))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "masks per clip", "middle", "axis"))
    across = [x(m) for m in curve.masks]
    outline = svg.points(across + across[::-1], [y(v) for v in (*curve.high, *curve.low[::-1])])
    parts.append(svg.element("polygon", points=outline, class_="band most"))
    parts.append(svg.element("polyline", points=svg.points(across, map(y, curve.correlation)), class_="curve most"))
    for m, c in zip(curve.masks, curve.correlation, strict=True):
        parts.append(svg.element("circle", cx=x(m), cy=y(c), r=3, class_="bar"))
    label = f"{title} of two halves of the masks: " + ", ".join(
        f"{c:.2f} at {m} masks" for m, c in zip(curve.masks, curve.correlation, strict=True)
    )
    return svg.drawing(WIDTH, HEIGHT, "".join(parts), label, "chart")


def layer_chart(layers: Mapping[Any, float], title: str) -> str:
    """A bar per layer in [0, 1], with a line at 0.5, the expected value if layers did not matter."""
    x = svg.linear(0, len(layers), LEFT, WIDTH - RIGHT)
    y = svg.linear(0, 1, HEIGHT - BOTTOM, TOP)
    parts = [_y_axis(svg.ticks(0, 1), y), svg.text(LEFT, 16, title, class_="axis")]
    wide = x(1) - x(0)
    label_step = math.ceil(len(layers) / 16)
    gap = min(0.14 * wide, 6)
    for i, (layer, value) in enumerate(layers.items()):
        top = y(min(max(value, 0.0), 1.0))
        bar = {"x": x(i) + gap, "y": top, "width": min(wide - 2 * gap, 64), "height": max(y(0) - top, 0)}
        bar["x"] += (wide - 2 * gap - bar["width"]) / 2
        name = svg.element("title", svg.escape(f"layer {layer}: {value:.3f}"))
        parts.append(svg.element("rect", name, **bar, rx=2, class_="bar"))
        if i % label_step == 0:
            parts.append(svg.text(x(i + 0.5), HEIGHT - BOTTOM + 18, _short(str(layer)), "middle"))
    parts.append(svg.line(LEFT, y(0.5), WIDTH - RIGHT, y(0.5), "even"))
    parts.append(svg.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "layer", "middle", "axis"))
    label = f"{title} per layer: " + ", ".join(f"{k} {v:.2f}" for k, v in layers.items())
    return svg.drawing(WIDTH, HEIGHT, "".join(parts), label, "chart")


def importance_extent(value: np.ndarray, *errors: np.ndarray) -> tuple[float, float]:
    """Common domain of all importance bars: zero, the values and their errors (unknown ones count 0)."""
    widest = np.maximum.reduce([np.zeros_like(value), *(np.nan_to_num(e) for e in errors)])
    return min(0.0, float((value - widest).min())), max(0.0, float((value + widest).max()))


def importance_bar(value: float, these: float, new: float, extent: tuple[float, float]) -> str:
    """A bar from zero; thick whisker: interval for these clips, thin one with ends: for new clips, by half widths."""
    width, height = 150.0, 20.0
    x = svg.linear(*extent, 4, width - 4) if extent[1] > extent[0] else svg.linear(0, 1, 4, width - 4)
    middle = height / 2
    left, right = sorted((x(0), x(value)))
    parts = [
        svg.element(
            "rect", x=left, y=middle - 5, width=right - left, height=10, class_="value" if value >= 0 else "value minus"
        ),
        svg.line(x(0), 1, x(0), height - 1, "zero"),
    ]
    if math.isfinite(new):
        low, high = x(value - new), x(value + new)
        parts.append(svg.line(low, middle, high, middle, "thin"))
        parts += [svg.line(end, middle - 3, end, middle + 3, "thin") for end in (low, high)]
    if math.isfinite(these):
        parts.append(svg.line(x(value - these), middle, x(value + these), middle, "thick"))
    return svg.element(
        "svg", "".join(parts), viewBox=f"0 0 {svg.fixed(width)} {svg.fixed(height)}", class_="errorbar",
        aria_hidden="true",
    )  # fmt: skip


def overlap_bar(miou: float, half: float, control: float, control_95: float) -> str:
    """Mean IoU in [0, 1] as a bar with its interval, over a control: its mean and its 95 % quantile."""
    width, height = 240.0, 26.0
    x = svg.linear(0, 1, 4, width - 4)
    parts = [svg.element("rect", x=x(0), y=7, width=x(1) - x(0), height=12, class_="track")]
    parts.append(svg.element("rect", x=x(0), y=7, width=x(miou) - x(0), height=12, class_="value"))
    if math.isfinite(half):
        parts.append(svg.line(x(max(miou - half, 0)), 13, x(min(miou + half, 1)), 13, "thick"))
    if math.isfinite(control_95):
        parts.append(svg.line(x(control_95), 3, x(control_95), 23, "control dashed"))
    parts.append(svg.line(x(control), 3, x(control), 23, "control"))
    return svg.element(
        "svg", "".join(parts), viewBox=f"0 0 {svg.fixed(width)} {svg.fixed(height)}", class_="errorbar wide",
        aria_hidden="true",
    )  # fmt: skip


def _y_axis(marks: list[float], y: svg.Scale) -> str:
    decimals = svg.tick_decimals(marks)
    rows = []
    for i, mark in enumerate(marks):
        rows.append(svg.line(LEFT, y(mark), WIDTH - RIGHT, y(mark), "grid" if i else "base"))
        rows.append(svg.text(LEFT - 8, y(mark) + 4, svg.number(mark, decimals), "end"))
    return "".join(rows)


def _short(name: str) -> str:
    return name if len(name) <= 12 else name[:11] + "…"
