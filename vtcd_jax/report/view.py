"""From results to the words and rows that the page shows. No HTML here but the drawings of ``charts``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.concepts.types import Concepts

from . import charts
from .overlays import Colour, colour_of
from .svg import decimals_for, number
from .types import ReportData

SCORE_WORDS = {
    "accuracy": "its accuracy",
    "probability": "the probability of the target class",
    "log_probability": "the log-probability of the target class",
    "margin": "the margin of the target class over the best other class",
    "logit": "the logit of the target class",
    "iou": "the overlap (IoU) of the target's predicted mask with the mask asked for",
    "soft_iou": "the overlap (soft IoU) of the target's predicted mask with the mask asked for",
    "reconstruction": "the quality of its reconstruction (minus the mean squared error)",
}
LONGEST = 400  # characters of one setting, note or name that are shown


@dataclass(frozen=True)
class Cell:
    """A sortable cell: what is shown, and the number it is sorted by ("" sorts last)."""

    text: str
    key: str


@dataclass(frozen=True)
class Row:
    """A concept in the table. bar: drawing of its importance. card: whether it has one."""

    rank: int
    concept: int
    name: str
    layer: Cell
    head: int
    importance: Cell
    errors: str
    bar: str
    counts: tuple[Cell, ...]
    scores: tuple[Cell, ...]
    card: bool
    colour: str


@dataclass(frozen=True)
class Shown:
    """A clip in a card: its index, name and class, and the concept's importance in it."""

    video: int
    name: str
    label: str
    importance: str


@dataclass(frozen=True)
class Card:
    """A concept up close."""

    row: Row
    present: str
    facts: tuple[tuple[str, str], ...]
    colour: Colour
    clips: tuple[Shown, ...]


def layer_names(concepts: Concepts) -> list[str]:
    """A name per site: the layer's number, or the site's own name where two sites share a number."""
    if len(set(concepts.layers)) == len(concepts.sites):
        return [str(layer) for layer in concepts.layers]
    return list(concepts.sites)


def score_title(name: str) -> str:
    return name.replace("_", "-")


def score_words(name: str) -> str:
    return SCORE_WORDS.get(name, f"the score “{name}”")


def plus_minus(value: float, decimals: int, what: str = "") -> str:
    """ "± 0.12" and what it stands for; nothing where the error is not known."""
    return f"± {number(value, decimals)}{what}" if math.isfinite(value) else ""


def errors(se_masks: float, se_videos: float, decimals: int) -> str:
    """Both standard errors in words."""
    parts = (plus_minus(se_masks, decimals, " for these clips"), plus_minus(se_videos, decimals, " for new clips"))
    return ", ".join(part for part in parts if part)


def shorten(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shown_concepts(data: ReportData, top: int) -> list[int]:
    """Concepts with a card, by rank: the ``top`` most important, and those of the overlap table."""
    order = [int(c) for c in data.importance[0].order()]
    extra = {row.concept for row in data.overlaps}
    return [c for rank, c in enumerate(order) if rank < top or c in extra]


def table(data: ReportData, cards: list[int]) -> list[Row]:
    """All concepts by rank."""
    first, concepts = data.importance[0], data.concepts
    extent = charts.importance_extent(first.importance, first.se_masks, first.se_videos)
    decimals = [decimals_for(found.importance.tolist()) for found in data.importance]
    layers, names, count, spread = layer_names(concepts), concepts.names, concepts.count(), concepts.spread()
    stability = (concepts.stability_seeds, concepts.stability_clips)
    with_card = set(cards)
    rows = []
    for rank, c in enumerate(int(c) for c in first.order()):
        value, masks, videos = (float(v[c]) for v in (first.importance, first.se_masks, first.se_videos))
        rows.append(
            Row(
                rank=rank + 1,
                concept=c,
                name=names[c],
                layer=Cell(layers[concepts.site[c]], str(int(concepts.site[c]))),
                head=int(concepts.head[c]),
                importance=_cell(value, decimals[0]),
                errors=errors(masks, videos, decimals[0]),
                bar=charts.importance_bar(value, masks, videos, extent),
                counts=(
                    Cell(str(int(count[c])), str(int(count[c]))),
                    Cell(str(int(first.videos[c])), str(int(first.videos[c]))),
                    _cell(float(spread[c]), 2),
                    _cell(float(concepts.silhouette[c]), 2),
                    *(_cell(float(values[c]), 2) for values in stability if values is not None),
                ),
                scores=tuple(
                    _cell(float(found.importance[c]), d)
                    for found, d in zip(data.importance[1:], decimals[1:], strict=True)
                ),
                card=c in with_card,
                colour=hexadecimal(colour_of(rank)),
            )
        )
    return rows


def count_names(concepts: Concepts) -> list[str]:
    """Headings of ``Row.counts``."""
    names = ["Tubelets", "Clips", "Spread", "Silhouette"]
    names += [] if concepts.stability_seeds is None else ["Stability"]
    return names + ([] if concepts.stability_clips is None else ["On half"])


def cards(data: ReportData, rows: list[Row], clips_each: int) -> list[Card]:
    """The rows with a card, each with the clips that show its concept most."""
    first, concepts = data.importance[0], data.concepts
    decimals = decimals_for(first.per_video.ravel().tolist())
    found = []
    for row in (row for row in rows if row.card):
        c = row.concept
        tubelets, videos, spread, silhouette, *again = (cell.text for cell in row.counts)
        clips = tuple(
            Shown(
                int(v),
                data.clips.names[v],
                _label(data, int(v)),
                number(float(first.per_video[v, c]), decimals),
            )
            for v in concepts.best_clips(c, clips_each)
        )
        facts = (
            ("clips that have it", f"{videos} of {len(data.clips)}"),
            ("tubelets", tubelets),
            ("spread", spread),
            ("silhouette of its head", silhouette),
            ("reconstruction error of its head", number(float(concepts.error[c]), 2)),
        )
        facts += tuple(zip(("found again by other starts", "found again on half of the clips"), again, strict=False))
        if not concepts.converged[c]:
            facts += (("factorisation", "stopped before it converged"),)
        present = number(float(first.importance_present[c]), decimals)
        found.append(Card(row, present, facts, colour_of(row.rank - 1), clips))
    return found


def facts(data: ReportData) -> list[tuple[str, str]]:
    """The header's list."""
    first, concepts = data.importance[0], data.concepts
    count, time, height, width, _ = data.clips.video.shape
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


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as ("slic.compactness", "0.1") pairs, long values shortened."""
    pairs: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            pairs += flat_settings(value, f"{prefix}{key}.")
        else:
            pairs.append((shorten(f"{prefix}{key}"), shorten(_value(value))))
    return pairs


def hexadecimal(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _cell(value: float, decimals: int) -> Cell:
    return Cell(number(value, decimals), repr(value) if math.isfinite(value) else "")


def _free_target(data: ReportData) -> str:
    return "none (self-supervised)" if data.importance[0].score == "reconstruction" else "each clip's own prediction"


def _label(data: ReportData, video: int) -> str:
    label = int(data.clips.labels[video])
    return data.labels[label] if 0 <= label < len(data.labels) else ""


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_value(v) for v in value) or "none"
    return str(value)
