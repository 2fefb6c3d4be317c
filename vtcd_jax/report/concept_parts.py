"""Parts of the page for ranked concepts: overview, ranking, clips, curves, pairs, overlap with true masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import write_text
from vtcd_jax.concepts.evaluation.mask_overlaps import upper
from vtcd_jax.importance import Interactions
from vtcd_jax.importance.controls import CENTRES, GROUPS

from . import verdict, view
from .drawing import charts
from .drawing.svg import decimals_for, number
from .films import films
from .frames import CLIPS_EACH, shown_concepts
from .page import Table, render, render_page
from .section import Part
from .types import ReportData
from .words import flat_settings, shorten

PAIRS = 12  # pairs of concepts in the table


def write(
    folder: str | Path,
    data: ReportData,
    *,
    top: int = 12,
    clips_each: int = CLIPS_EACH,
    fps: float | int = 8,
    max_bytes: int = 12_000_000,
) -> Path:
    """Writes ``index.html`` into ``folder`` (created if missing), atomically, and returns its path.

    top:        number of concepts with a card, besides those of the overlap table; all concepts are in the table.
    clips_each: largest number of clips in a card.
    fps:        frames per second of the clips.
    max_bytes:  size of all clips together; they are compressed more if necessary.

    Raises InputError for invalid numbers, OSError if the file cannot be written.
    """
    parts = concept_parts(data, top=top, clips_each=clips_each, fps=fps, max_bytes=max_bytes)
    tables = [
        Table("Settings", flat_settings(data.settings)),
        Table("Clips", list(zip(data.clips.names, data.clips.hashes, strict=True)), True),
        Table("Versions", list(data.versions.items())),
    ]
    html = render_page(data.title, parts, [table for table in tables if table.rows], data.methods)
    path = Path(folder) / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, html)
    return path


def concept_parts(
    data: ReportData, *, top: int = 12, clips_each: int = CLIPS_EACH, fps: float | int = 8, max_bytes: int = 12_000_000
) -> list[Part]:
    """The parts of the page. Arguments and errors as in ``write``."""
    if top < 0 or clips_each < 1 or not fps > 0:
        raise InputError(f"a report needs top >= 0, clips_each >= 1 and fps > 0; got {top}, {clips_each}, {fps}")
    rows = view.table(data, shown_concepts(data.importance[0], data.overlaps, top))
    cards = view.cards(data, rows, clips_each)
    first, curves = data.importance[0], curve_section(data)
    layer_chart = charts.layer_chart(data.layers, "mean normalised rank") if data.layers else ""
    overview = {
        "data": data,
        "facts": view.facts(data),
        "score_text": view.score_text(first.score),
        "notes": [shorten(note, 2000) for note in data.notes],
        "tokens": data.concepts.centres is not None,
        "proposals": proposals_of(data),
    }
    ranking = {
        "rows": rows,
        "cards": cards,
        "score": view.score_title(first.score),
        "counts": list(view.concept_counts(data)),
        "other_scores": [view.score_title(importance.score) for importance in data.importance[1:]],
        "layers": layer_choices(data),
        "heads": sorted({int(h) for h in data.concepts.head}),
    }
    shown = {"cards": cards, "films": films(data, cards, fps, max_bytes), "shape": _shape(data)}
    drawn = {
        "data": data,
        "curves": curves,
        "controls": control_texts(data),
        "layer_chart": layer_chart,
        "convergence_chart": convergence_drawing(data),
    }
    overlap = {"data": data, "overlaps": overlap_section(data, rows)}
    parts = [
        _part("ranking", "Ranking", "ranking.html", ranking),
        _part("clips", "Clips", "cards.html", shown),
    ]
    if curves or layer_chart or drawn["convergence_chart"]:
        parts.append(_part("curves", "Curves", "curves.html", drawn))
    if data.interactions is not None:
        parts.append(_part("pairs", "Pairs", "pairs.html", pair_section(data, data.interactions, rows)))
    if data.overlaps:
        parts.append(_part("overlap", "True masks", "overlap.html", overlap))
    front = {
        "data": data,
        "sentence": verdict.sentence(data),
        "checks": verdict.checks(data),
        "five": verdict.strongest(cards),
        "map": verdict.head_map(data),
        "anchors": [part.anchor for part in parts],
        "films": shown["films"],
        "shape": shown["shape"],
    }
    return [
        _part("verdict", "", "verdict.html", front),
        *parts,
        _part("what", "How to read it", "overview.html", overview),
    ]


def layer_choices(data: ReportData) -> list[tuple[str, str]]:
    """(key, name) of the layers with concepts."""
    names = view.layer_names(data.concepts)
    return [(str(site), names[site]) for site in sorted({int(s) for s in data.concepts.site})]


def curve_section(data: ReportData) -> dict[str, object] | None:
    """Drawing and legend of the removal curves."""
    if data.curves is None:
        return None
    curves = data.curves
    legend = [
        (*charts.order_style(order), number(float(area), 3), view.plus_minus(float(half), 3))
        for order, area, half in zip(curves.orders, curves.areas, curves.area_half_widths(), strict=True)
    ]
    score = view.score_title(curves.score)
    for control in data.controls:
        half = view.plus_minus(charts.area_half_width(control.scores, curves.fraction), 3)
        legend.append((_STYLES[control.kind], f"{control.kind}, most important first", number(control.area, 3), half))
    chart = charts.curve_chart(curves, score, [(_STYLES[c.kind], c.scores) for c in data.controls])
    return {"chart": chart, "legend": legend, "clips": curves.scores.shape[1], "score": score}


_STYLES = {CENTRES: "control", GROUPS: "control weak"}
_MEANINGS = {
    CENTRES: "as many {} of each head, drawn at random, are the centres; everything belongs to the nearest one",
    GROUPS: "{} of each head in random groups of the same sizes",
}


def proposals_of(data: ReportData) -> str:
    """What the concepts were found in: "slic", "tokens" or "crops"."""
    return data.concepts.settings.get("slic", {}).get("proposals", "slic")


def control_texts(data: ReportData) -> list[tuple[bool, str]]:
    """For each control: whether it passed; how it was made and its result."""
    found_in = {"crops": "boxes", "tokens": "tokens"}.get(proposals_of(data), "tubelets")
    units = {CENTRES: found_in, GROUPS: "regions" if data.concepts.centres is not None else found_in}
    made = {kind: text.format(units[kind]) for kind, text in _MEANINGS.items()}
    return [
        (
            control.passed,
            f"{control.kind.capitalize()} ({made[control.kind]}), ranked with {control.masks:.0f} masks per clip "
            f"and removed in the same way. C{control.line()[1:]}.",
        )
        for control in data.controls
    ]


def convergence_drawing(data: ReportData) -> str:
    """The chart of convergence; empty with too few masks to halve."""
    curve = data.convergence
    return charts.convergence_chart(curve, "rank correlation") if curve is not None and len(curve.masks) > 1 else ""


def pair_section(data: ReportData, found: Interactions, rows: Sequence[view.Row]) -> dict[str, Any]:
    """Rows of the table of pairs: the significant ones, at most ``PAIRS``."""
    by_concept = {row.concept: row for row in rows}
    count = min(found.significant(), PAIRS)
    decimals = decimals_for(found.value[:count].tolist())
    pairs = [
        {
            "first": by_concept[first],
            "second": by_concept[second],
            "kind": found.kind(i),
            "value": number(float(found.value[i]), decimals),
            "p": f"{found.p[i]:.2g}",
        }
        for i, (first, second) in enumerate(found.pairs[:count].tolist())
    ]
    return {"pairs": pairs, "found": found, "score": view.score_title(found.score)}


def overlap_section(data: ReportData, rows: Sequence[view.Row]) -> list[dict[str, object]]:
    """Rows of the overlap table."""
    by_concept = {row.concept: row for row in rows}
    return [
        {
            "mask": overlap.mask.replace("_", " "),
            "row": by_concept[overlap.concept],
            "miou": number(overlap.miou, 3),
            "half": view.plus_minus(overlap.half_width, 3),
            "centres": number(float(overlap.centres.mean()), 3),
            "centres_95": number(upper(overlap.centres), 3),
            "groups": number(float(overlap.groups.mean()), 3),
            "bar": charts.overlap_bar(
                overlap.miou, overlap.half_width, float(overlap.centres.mean()), upper(overlap.centres)
            ),
        }
        for overlap in data.overlaps
    ]


def _part(anchor: str, title: str, template: str, values: dict[str, Any]) -> Part:
    from markupsafe import Markup

    return Part(anchor, title, render(template, {**values, "svg": Markup}))


def _shape(data: ReportData) -> str:
    """ "height / width" of a clip, as CSS writes an aspect ratio."""
    return "{} / {}".format(*data.clips.shape[:0:-1])
