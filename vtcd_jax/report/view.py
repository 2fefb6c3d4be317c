"""Texts and table rows of the page, made from results. The only HTML is the drawings of ``charts``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vtcd_jax.concepts.types import Concepts

from .drawing import charts
from .drawing.svg import decimals_for, number
from .overlays import Colour, colour_of
from .types import ReportData

SCORE_TEXTS = {
    "accuracy": "its accuracy",
    "probability": "the probability of the target class",
    "log_probability": "the log-probability of the target class",
    "margin": "the margin of the target class over the best other class",
    "logit": "the logit of the target class",
    "iou": "the overlap (IoU) of the target's predicted mask with the target mask",
    "soft_iou": "the overlap (soft IoU) of the target's predicted mask with the target mask",
    "reconstruction": "the quality of its reconstruction (minus the mean squared error)",
}


@dataclass(frozen=True)
class Cell:
    """A sortable cell: what is shown, and the number it is sorted by ("" sorts last)."""

    text: str
    key: str


@dataclass(frozen=True)
class Row:
    """A concept in the table. key: text that it is sorted and found by.  p: under the permutation null.  bar: drawing
    of its importance.  card: whether it has one."""

    rank: int
    concept: int
    title: str
    key: str
    layer: Cell
    head: int
    importance: Cell
    errors: str
    p: Cell
    bar: str
    counts: tuple[Cell, ...]
    scores: tuple[Cell, ...]
    card: bool
    colour: str


@dataclass(frozen=True)
class ClipCard:
    """A clip in a card: its index, name and class, and the concept's importance in it."""

    video: int
    name: str
    label: str
    importance: str


@dataclass(frozen=True)
class Card:
    """The card of a concept: its clips and details."""

    row: Row
    present: str
    facts: tuple[tuple[str, str], ...]
    colour: Colour
    clips: tuple[ClipCard, ...]


def layer_names(concepts: Concepts) -> list[str]:
    """A name per site: the layer's number, or the site's name if two sites share a number."""
    if len(set(concepts.layers)) == len(concepts.sites):
        return [str(layer) for layer in concepts.layers]
    return list(concepts.sites)


def score_title(name: str) -> str:
    return name.replace("_", "-")


def score_text(name: str) -> str:
    return SCORE_TEXTS.get(name, f"the score “{name}”")


def plus_minus(value: float, decimals: int, what: str = "") -> str:
    """ "± 0.12" and its meaning; empty if the error is unknown."""
    return f"± {number(value, decimals)}{what}" if math.isfinite(value) else ""


def errors(these: float, new: float, decimals: int) -> str:
    """Half widths of both intervals as text."""
    texts = (plus_minus(these, decimals, " for these clips"), plus_minus(new, decimals, " for new clips"))
    return ", ".join(text for text in texts if text)


def table(data: ReportData, cards: list[int]) -> list[Row]:
    """All concepts by rank."""
    first, concepts = data.importance[0], data.concepts
    halves = first.half_widths()
    extent = charts.importance_extent(first.importance, *halves)
    decimals = [decimals_for(importance.importance.tolist()) for importance in data.importance]
    layers, counts = layer_names(concepts), concept_counts(data)
    with_card = set(cards)
    rows = []
    for rank, c in enumerate(int(c) for c in first.order()):
        value, these, new = (float(v[c]) for v in (first.importance, *halves))
        rows.append(
            Row(
                rank=rank + 1,
                concept=c,
                title=concepts.titles[c],
                key=f"{concepts.titles[c]} {concepts.names[c]}",
                layer=Cell(layers[concepts.site[c]], str(int(concepts.site[c]))),
                head=int(concepts.head[c]),
                importance=_cell(value, decimals[0]),
                errors=errors(these, new, decimals[0]),
                p=_p(data, c),
                bar=charts.importance_bar(value, these, new, extent),
                counts=tuple(_cell(float(values[c]), places) for values, places in counts.values()),
                scores=tuple(
                    _cell(float(importance.importance[c]), d)
                    for importance, d in zip(data.importance[1:], decimals[1:], strict=True)
                ),
                card=c in with_card,
                colour=hexadecimal(colour_of(rank)),
            )
        )
    return rows


def concept_counts(data: ReportData) -> dict[str, tuple[np.ndarray, int]]:
    """Heading of each of ``Row.counts`` -> its values [concept] and their decimals. Concepts of tokens have a share of
    the tokens (%), those of tubelets a number of tubelets and a spread."""
    concepts, clips = data.concepts, (data.importance[0].videos, 0)
    if concepts.centres is None:
        counts = {"Tubelets": (concepts.count(), 0), "Clips": clips, "Spread": (concepts.spread(), 2)}
    else:
        tokens = np.array([np.prod(concepts.grid[name]) for name in concepts.sites])[concepts.site]
        counts = {"Tokens, %": (100 * concepts.size() / (tokens * concepts.videos), 1), "Clips": clips}
    counts["Silhouette"] = concepts.silhouette, 2
    stability = {
        "Stability: seeds": concepts.stability_seeds,
        "Stability: clips": concepts.stability_clips,
        "Stability: random centres": concepts.stability_centres,
    }
    return counts | {name: (values, 2) for name, values in stability.items() if values is not None}


FACTS = {  # headings of counts -> their words beside a concept's clips
    "Tokens, %": "share of the tokens, %", "Tubelets": "tubelets", "Spread": "spread",
    "Silhouette": "silhouette of its head",
    "Stability: seeds": "stability over seeds", "Stability: clips": "stability over clips",
    "Stability: random centres": "stability of random centres in its head",
}  # fmt: skip


def cards(data: ReportData, rows: list[Row], clips_each: int) -> list[Card]:
    """The rows with a card, each with the clips that contain most of its concept."""
    first, concepts = data.importance[0], data.concepts
    decimals = decimals_for(first.per_video.ravel().tolist())
    result = []
    for row in (row for row in rows if row.card):
        c = row.concept
        counts = dict(zip(concept_counts(data), (cell.text for cell in row.counts), strict=True))
        clips = tuple(
            ClipCard(
                int(v),
                data.clips.names[v],
                data.clips.labels[int(v)],
                number(float(first.per_video[v, c]), decimals),
            )
            for v in concepts.best_clips(c, clips_each)
        )
        facts = (("clips that have it", f"{counts['Clips']} of {len(data.clips)}"),)
        facts += tuple((words, counts[name]) for name, words in FACTS.items() if name in counts)
        facts += (("reconstruction error of its head", number(float(concepts.error[c]), 2)),)
        if not concepts.converged[c]:
            facts += (("factorisation", "stopped before it converged"),)
        present = number(float(first.importance_present[c]), decimals)
        result.append(Card(row, present, facts, colour_of(row.rank - 1), clips))
    return result


def facts(data: ReportData) -> list[tuple[str, str]]:
    """The facts in the header."""
    first, concepts = data.importance[0], data.concepts
    time, height, width = data.clips.shape
    count = len(data.clips)
    heads = len({(int(s), int(h)) for s, h in zip(concepts.site, concepts.head, strict=True)})
    low, high = int(first.masks.min()), int(first.masks.max())
    masks = f"{low if low == high else f'{low} to {high}'} per clip, design “{first.design}”"
    return [
        ("Target", data.target if data.target is not None else _free_target(data)),
        ("Clips", f"{count} of {time} frames, {height} × {width} pixels"),
        ("Concepts", f"{len(concepts)} in {heads} heads of {len(concepts.sites)} layers"),
        ("Ranked by", f"{score_title(first.score)}, estimator “{first.estimator}”"),
        ("Masks", masks),
        ("Seed", str(data.seed)),
    ]


def _p(data: ReportData, concept: int) -> Cell:
    value = math.nan if data.p_null is None else float(data.p_null[concept])
    return Cell(f"{value:.2g}" if math.isfinite(value) else "–", repr(value) if math.isfinite(value) else "")


def hexadecimal(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _cell(value: float, decimals: int) -> Cell:
    return Cell(number(value, decimals), repr(value) if math.isfinite(value) else "")


def _free_target(data: ReportData) -> str:
    return "none (self-supervised)" if data.importance[0].score == "reconstruction" else "each clip's predicted class"
