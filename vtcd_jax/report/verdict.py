"""The first screen: what was found in one sentence, whether it passed its control, how sure the ranking is, the five
strongest concepts, and a map of the heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.importance import Importance
from vtcd_jax.importance.controls import CENTRES

from . import view
from .drawing.svg import decimals_for, number
from .types import ReportData

FIRST = 5  # concepts on the first screen
ALPHA = 0.05


@dataclass(frozen=True)
class Check:
    """A check of the result. state: "passed", "failed" or "unknown".  anchor: of the part that shows it, or ""."""

    state: str
    text: str
    anchor: str


@dataclass(frozen=True)
class MapCell:
    """A head of a layer. layer, head: keys of the filters.  count: concepts.  share: largest importance, over the
    largest of all, in [-1, 1].  label: in words."""

    layer: str
    head: str
    count: int
    share: float
    label: str


def sentence(data: ReportData) -> str:
    """What was found, in words."""
    first, concepts = data.importance[0], data.concepts
    count, score = int(stands_out(data).sum()), view.score_text(first.score)
    order = first.order()
    best = int(order[0])
    if not count:
        return f"None of the {len(concepts)} concepts stands out from chance in its effect on {score}."
    value, half = first.importance[best], _half_widths(first)[best]
    places = decimals_for([float(value)])
    amount = f"{number(float(value), places)} {view.plus_minus(float(half), places)}".strip()
    text = f"{count} of {len(concepts)} concepts stand out from chance in their effect on {score}."
    if value > 0:
        text += f" The most important one, {concepts.titles[best]}, is worth {amount} of it."
    names = view.layer_names(concepts)
    layer, often = Counter(names[concepts.site[c]] for c in order[:FIRST]).most_common(1)[0]
    if often > 1 and len(order) > FIRST:
        all_of_them = f"The {FIRST} most important are all in layer {layer}."
        text += f" {all_of_them if often == FIRST else f'Of the {FIRST} most important, {often} are in layer {layer}.'}"
    return text


def stands_out(data: ReportData) -> np.ndarray:
    """bool [concept]: p < 0.05 under the permutation null; without one, intervals that leave 0 out."""
    if data.p_null is not None and np.isfinite(data.p_null).any():
        return np.nan_to_num(data.p_null, nan=1.0) < ALPHA
    first = data.importance[0]
    return np.abs(first.importance) > _half_widths(first)


def _half_widths(importance: Importance) -> np.ndarray:
    """Of the intervals for these clips; for new ones where these are not known."""
    these, new = importance.half_widths()
    return np.where(np.isfinite(these), these, new)


def checks(data: ReportData) -> list[Check]:
    """The control, and the stability of the order."""
    return [_control(data), _order(data)]


def _control(data: ReportData) -> Check:
    control = next((c for c in data.controls if c.kind == CENTRES), None)
    if control is None:
        return Check("unknown", "No control was run: whether these concepts are better than random ones is open.", "")
    margin = number(control.advantage, 3) + (f" ± {control.half_width:.3f}" if np.isfinite(control.half_width) else "")
    if control.passed:
        text = (
            f"Control passed: random centres, removed in the same way, leave {margin} more area under the curve (95 %)."
        )
        return Check("passed", text, "curves")
    text = "Control failed: these concepts are not shown to be better than random centres, which leave"
    return Check("failed", f"{text} {margin} more area (95 %).", "curves")


def _order(data: ReportData) -> Check:
    curve = data.convergence
    if curve is None or not len(curve.masks):
        return Check(
            "unknown", "How sure the order is, is not known: the passes are too few to compare two halves.", ""
        )
    value, low, high = (float(v[-1]) for v in (curve.correlation, curve.low, curve.high))
    interval = f"{value:.2f} (95 %: {low:.2f} to {high:.2f})"
    text = f"Two halves of the passes order the concepts with a rank correlation of {interval}"
    if value >= 0.9:
        return Check("passed", f"{text}; all passes together are surer.", "curves")
    return Check("unknown", f"{text}: neighbours in the ranking may change places. More --masks help.", "curves")


def head_map(data: ReportData) -> dict[str, Any]:
    """Rows of the map, last layer first: (name of the layer, cells, None where a head has no concept)."""
    first, concepts = data.importance[0], data.concepts
    names, heads = view.layer_names(concepts), range(int(concepts.head.max()) + 1)
    largest = float(np.abs(first.importance).max()) or 1.0
    places = decimals_for(first.importance.tolist())
    rows = []
    for site in sorted({int(s) for s in concepts.site}, reverse=True):
        cells: list[MapCell | None] = []
        for head in heads:
            own = np.flatnonzero((concepts.site == site) & (concepts.head == head))
            if not len(own):
                cells.append(None)
                continue
            best = float(first.importance[own].max())
            label = f"layer {names[site]}, head {head}: {len(own)} concepts, largest importance {number(best, places)}"
            cells.append(MapCell(str(site), str(head), len(own), best / largest, label))
        rows.append((names[site], cells))
    return {"heads": list(heads), "rows": rows}


def strongest(cards: Sequence[view.Card]) -> list[view.Card]:
    """The cards of the first concepts."""
    return [card for card in cards if card.row.rank <= FIRST]
