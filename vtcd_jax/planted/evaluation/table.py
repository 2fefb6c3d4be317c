"""A report as lines of text."""

from __future__ import annotations

from ..network.truth import PROPERTIES
from .intervals import Interval, with_width
from .judging import Report

_ORDERS = {"most-first": "most important first", "random": "random order", "least-first": "least important first"}
_ANSWERS = {True: "yes", False: "NO", None: "unknown (one seed has no interval)"}


def lines(report: Report) -> list[str]:
    """Per method: properties, areas and claims; values of the control in brackets."""
    out = []
    for method, by_kind in report.figures.items():
        found, control = by_kind["found"], by_kind["control"]
        title = f"{method}: {found['concepts'].mean:.0f} concepts; mean ± 95 % over {report.settings.seeds} seeds"
        header = f"  {'property':<13}{'precision':>13}{'recall':>13}{'IoU':>13} {'(random)':<13}{'head':>9}"
        out += [title + " (random concepts)", f"{header}{'rank':>12} {'(random)':<12}{'density':>13} {'(random)':<12}"]
        for name in [*(p.name for p in PROPERTIES), "mean"]:
            row = "".join(f"{with_width(found[f'{kind}/{name}']):>13}" for kind in ("precision", "recall", "iou"))
            row += f" {_brackets(control[f'iou/{name}']):<13}{found[f'own_head/{name}'].mean:>9.0%}"
            if f"rank/{name}" in found:
                row += f"{with_width(found[f'rank/{name}'], 1):>12} {_brackets(control[f'rank/{name}'], 1):<12}"
                row += f"{with_width(found[f'density/{name}']):>13} {_brackets(control[f'density/{name}']):<12}"
            out.append(f"  {name:<13}{row}".rstrip())
        for kind, title in (("area", "concepts"), ("token_area", "tokens")):
            for name in ("most-first", "random", "least-first"):
                area = f"{kind}/{name}"
                label = f"area of the logit over {title} removed, {_ORDERS[name]}"
                out.append(f"  {label:<64}{with_width(found[area])} {_brackets(control[area])}")
        out.append(f"  agreement with the exact importance: {with_width(found['agreement'], 3)}")
        out += [f"  {claim}: {_ANSWERS[holds]}" for claim, holds in report.claims[method].items()]
    return out


def _brackets(figure: Interval, digits: int = 2) -> str:
    return f"({with_width(figure, digits)})"
