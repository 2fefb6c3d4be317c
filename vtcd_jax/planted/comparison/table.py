"""Results of version 2 as lines of text: one table per level of noise, in the form of Markdown."""

from __future__ import annotations

from ..evaluation.intervals import with_width
from .report import Comparison, LevelResult

# title -> (metric, digits)
COLUMNS = {
    "score": ("score", 2), "matched IoU": ("matched/mean", 2), "best IoU": ("iou/mean", 2), "concepts": ("units", 0),
    "own head": ("own_head/mean", 2), "agreement": ("agreement", 2), "order": ("order", 2), "top ten": ("top", 2),
    "token area": ("token_area/most-first", 2),
}  # fmt: skip
GROUPS = ("score", 2)
_MARKS = {True: "yes", False: "NO", None: "unknown (one seed has no interval)"}


def comparison_lines(report: Comparison) -> list[str]:
    """Tables with intervals over seeds, then the claims."""
    out = []
    for result in report.levels:
        best = with_width(result.ceiling["iou/mean"])
        out += [f"noise {result.level:g}; a linear read-out fitted with the truth has an IoU of {best}", ""]
        out += [*_table(result), ""]
    for result in report.levels:
        for name, claims in result.claims.items():
            kept = sum(holds is True for holds in claims.values())
            out.append(f"noise {result.level:g}, {name}: {kept} of {len(claims)} claims hold")
            out += [f"  {claim}: {_MARKS[holds]}" for claim, holds in claims.items() if holds is not True]
    return out


def _table(result: LevelResult) -> list[str]:
    rows = [f"| method | {' | '.join(COLUMNS)} | score of random groups |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, figures in result.found.items():
        cells = [with_width(figures[metric], digits) for metric, digits in COLUMNS.values()]
        rows.append(f"| {name} | {' | '.join(cells)} | {with_width(result.groups[name][GROUPS[0]], GROUPS[1])} |")
    return rows
