"""``write``: a folder with ``index.html``, one file that works offline and asks the network for nothing.

Styles and the script are inline and the clips are data addresses (H.264). A content security policy with the
script's hash forbids everything else, and every word from outside is escaped. The same data give the same bytes on one
machine.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import write_bytes
from vtcd_jax.data.encode import encode_video

from . import charts, view
from .citations import bibtex
from .overlays import concept_clip
from .svg import number
from .types import ReportData

TEMPLATES = Path(__file__).parent / "templates"
QUALITIES = (22, 27, 32, 38, 45)  # x264's rate factor, tried in turn until a clip fits


def write(
    folder: str | Path,
    data: ReportData,
    *,
    top: int = 12,
    clips_each: int = 6,
    fps: float | int = 8,
    max_bytes: int = 12_000_000,
) -> Path:
    """Writes ``index.html`` into ``folder`` (made where missing), whole or not at all, and returns its path.

    top:        concepts with a card, beside those that the overlap table names; all are in the table.
    clips_each: clips in a card at most.  fps: frames per second that clips play at.
    max_bytes:  room for all clips together; they are compressed more where they would need more.

    Raises InputError for numbers that make no sense, OSError where the file cannot be written.
    """
    if top < 0 or clips_each < 1 or not fps > 0:
        raise InputError(f"a report needs top >= 0, clips_each >= 1 and fps > 0; got {top}, {clips_each}, {fps}")
    html = render(data, top=top, clips_each=clips_each, fps=fps, max_bytes=max_bytes)
    path = Path(folder) / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, html.encode("utf-8"))
    return path


def render(data: ReportData, *, top: int, clips_each: int, fps: float | int, max_bytes: int) -> str:
    """The page's text. Arguments as in ``write``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    entries = bibtex(data.methods)
    script = (TEMPLATES / "report.js").read_text("utf-8")
    rows = view.table(data, view.shown_concepts(data, top))
    cards = view.cards(data, rows, clips_each)
    videos = encode(data, cards, fps, max_bytes)
    first = data.importance[0]
    return environment.get_template("report.html").render(
        data=data,
        style=Markup((TEMPLATES / "report.css").read_text("utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode(),
        facts=view.facts(data),
        score=view.score_title(first.score),
        score_words=view.score_words(first.score),
        rows=rows,
        cards=cards,
        videos=videos,
        shape="{} / {}".format(*data.clips.video.shape[3:1:-1]),
        counts=view.count_names(data.concepts),
        other_scores=[view.score_title(found.score) for found in data.importance[1:]],
        layers=layer_choices(data),
        heads=sorted({int(h) for h in data.concepts.head}),
        notes=[view.shorten(note, 2000) for note in data.notes],
        curves=curve_section(data),
        layer_chart=charts.layer_chart(data.layers, "mean rank share") if data.layers else "",
        convergence_chart=convergence_drawing(data),
        overlaps=overlap_section(data, rows),
        settings=view.flat_settings(data.settings),
        bibtex=entries,
        svg=Markup,
    )


def encode(data: ReportData, cards: list[view.Card], fps: float | int, max_bytes: int) -> dict[tuple[int, int], str]:
    """(concept, clip) -> data address of the clip under its overlay."""
    count = sum(len(card.clips) for card in cards)
    room = max_bytes * 3 // 4 // max(count, 1)  # base64 takes four bytes for three
    addresses = {}
    for card in cards:
        concept = card.row.concept
        support = data.concepts.support(concept)
        for shown in card.clips:
            frames = concept_clip(data.clips.video[shown.video], support[shown.video], card.colour)
            found = base64.b64encode(fitting(frames, fps, room)).decode()
            addresses[concept, shown.video] = f"data:video/mp4;base64,{found}"
    return addresses


def fitting(frames: np.ndarray, fps: float | int, room: int) -> bytes:
    """The best-looking video of at most ``room`` bytes; where none is, the smallest that is tried."""
    videos = (encode_video(frames, fps, quality=quality) for quality in QUALITIES)
    data = b""
    for data in videos:
        if len(data) <= room:
            break
    return data


def layer_choices(data: ReportData) -> list[tuple[str, str]]:
    """(key, name) of the layers that have concepts."""
    names = view.layer_names(data.concepts)
    return [(str(site), names[site]) for site in sorted({int(s) for s in data.concepts.site})]


def curve_section(data: ReportData) -> dict[str, object] | None:
    """Drawing and legend of the removal curves."""
    if data.curves is None:
        return None
    found = data.curves
    legend = [
        (*charts.order_style(order), number(float(area), 3), view.plus_minus(float(se), 3))
        for order, area, se in zip(found.orders, found.areas, found.areas_se, strict=True)
    ]
    score, control = view.score_title(found.score), data.control
    if control is not None:
        legend.append(("control", "random groups, most important first", number(control.area, 3), ""))
    chart = charts.curve_chart(found, score, None if control is None else control.scores)
    return {"chart": chart, "legend": legend, "clips": found.scores.shape[1], "score": score}


def convergence_drawing(data: ReportData) -> str:
    """Nothing where masks were too few to be halved."""
    found = data.convergence
    return charts.convergence_chart(found, "rank correlation") if found is not None and len(found.masks) > 1 else ""


def overlap_section(data: ReportData, rows: list[view.Row]) -> list[dict[str, object]]:
    """Rows of the overlap table."""
    by_concept = {row.concept: row for row in rows}
    return [
        {
            "mask": found.mask.replace("_", " "),
            "row": by_concept[found.concept],
            "miou": number(found.miou, 3),
            "se": view.plus_minus(found.se, 3),
            "random": number(found.random, 3),
            "random_95": number(found.random_95, 3),
            "bar": charts.overlap_bar(found.miou, found.se, found.random, found.random_95),
        }
        for found in data.overlaps
    ]
