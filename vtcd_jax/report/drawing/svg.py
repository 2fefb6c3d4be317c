"""Drawing primitives for charts in SVG: scales, ticks and numbers. Text in, text out; everything is escaped.

Colours come from the page by class, so that one drawing serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

Number = float | int
Scale = Callable[[Number], float]


def number(value: Number, decimals: int) -> str:
    """Fixed decimals with a true minus sign; an en dash for NaN and infinity."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{decimals}f}"
    return text.replace("-", "−") if float(text) else f"{0:.{decimals}f}"


def decimals_for(values: Iterable[Number], significant: int = 3) -> int:
    """Decimals at which the largest value has ``significant`` digits: one choice for a whole column."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return 2 if largest == 0 else min(max(significant - 1 - math.floor(math.log10(largest)), 0), 8)


def ticks(low: Number, high: Number, count: int = 5) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) that enclose [low, high]."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next((m for m in (1, 2, 5) if m * power >= rough * 0.999), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def tick_decimals(values: Sequence[float]) -> int:
    """Decimals that distinguish neighbouring ticks."""
    step = values[1] - values[0] if len(values) > 1 else 1.0
    return max(0, -math.floor(math.log10(step) + 1e-9))


def linear(low: Number, high: Number, start: Number, end: Number) -> Scale:
    """[low, high] -> [start, end]; an empty domain is mapped to ``start``."""
    span = high - low
    return lambda value: start + (end - start) * ((value - low) / span if span else 0.0)


def fixed(value: Number) -> str:
    """A coordinate as short text, the same on all platforms."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def element(name: str, content: str = "", **attributes: str | float | int) -> str:
    """One element; ``class_`` and ``text_anchor`` become ``class`` and ``text-anchor``. ``content`` is SVG already."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(fixed(v) if isinstance(v, (int, float)) else v)}"'
        for key, v in attributes.items()
    )
    return f"<{name}{pairs}>{content}</{name}>" if content else f"<{name}{pairs}/>"


def text(x: Number, y: Number, content: str, anchor: str = "start", class_: str = "tick") -> str:
    return element("text", escape(content), x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: Number, y1: Number, x2: Number, y2: Number, class_: str) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def points(xs: Iterable[Number], ys: Iterable[Number]) -> str:
    return " ".join(f"{fixed(x)},{fixed(y)}" for x, y in zip(xs, ys, strict=True))


def drawing(width: Number, height: Number, content: str, label: str, class_: str) -> str:
    """A drawing that scales with its container. label: for screen readers."""
    return element(
        "svg", content, viewBox=f"0 0 {fixed(width)} {fixed(height)}", role="img", aria_label=label, class_=class_
    )
