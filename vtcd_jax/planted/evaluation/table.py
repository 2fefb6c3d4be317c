"""A report as lines of text."""

from __future__ import annotations

from collections.abc import Mapping

from ..network.truth import PROPERTIES
from .intervals import Interval, with_width
from .judging import Report

_RANDOM = "(centres, groups)"
_ORDERS = {"most-first": "most important first", "random": "random order", "least-first": "least important first"}
_ANSWERS = {True: "yes", False: "NO", None: "unknown (one seed has no interval)"}


def lines(report: Report) -> list[str]:
    """Per method: properties, areas and claims; in brackets the values of random centres and of random groups."""
    out = []
    for method, by_kind in report.figures.items():
        found, controls = by_kind["found"], (by_kind["centres"], by_kind["groups"])
        title = f"{method}: {found['concepts'].mean:.0f} concepts; mean ± 95 % over {report.settings.seeds} seeds"
        header = f"  {'property':<13}{'precision':>13}{'recall':>13}{'IoU':>13} {_RANDOM:<28}{'head':>5}"
        header += f"{'rank':>12} {_RANDOM:<26}{'density':>13} {_RANDOM}"
        out += [title + " (random centres, random groups)", header]
        for name in [*(p.name for p in PROPERTIES), "mean"]:
            row = "".join(f"{with_width(found[f'{kind}/{name}']):>13}" for kind in ("precision", "recall", "iou"))
            row += f" {_brackets(controls, f'iou/{name}'):<28}{found[f'own_head/{name}'].mean:>5.0%}"
            if f"rank/{name}" in found:
                row += f"{with_width(found[f'rank/{name}'], 1):>12} {_brackets(controls, f'rank/{name}', 1):<26}"
                row += f"{with_width(found[f'density/{name}']):>13} {_brackets(controls, f'density/{name}')}"
            out.append(f"  {name:<13}{row}".rstrip())
        for kind, title in (("area", "concepts"), ("token_area", "tokens")):
            for name in ("most-first", "random", "least-first"):
                area = f"{kind}/{name}"
                label = f"area of the logit over {title} removed, {_ORDERS[name]}"
                out.append(f"  {label:<64}{with_width(found[area])} {_brackets(controls, area)}")
        out.append(f"  agreement with the exact importance: {with_width(found['agreement'], 3)}")
        out += [f"  {claim}: {_ANSWERS[holds]}" for claim, holds in report.claims[method].items()]
    return out


def _brackets(controls: tuple[Mapping[str, Interval], ...], name: str, digits: int = 2) -> str:
    return f"({', '.join(with_width(control[name], digits) for control in controls)})"
