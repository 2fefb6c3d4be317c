"""The tables of a run folder; their bytes depend on the results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.importance import Curves, Importance, released_area
from vtcd_jax.runs import Run, write_csv

from .estimation.convergence import Convergence
from .estimation.permutation import Null
from .estimation.stopping import Look

if TYPE_CHECKING:
    from vtcd_jax.pipeline.overlapping import Overlap

    from .control import Control


def write_importance(run: Run, concepts: Concepts, every: Sequence[Importance], nulls: Sequence[Null]) -> None:
    """A row per concept and score, most important concept first, ranked by the first score."""
    layers = np.asarray(concepts.layers)[concepts.site]
    halves = [found.half_widths() for found in every]
    rows = []
    for rank, concept in enumerate(int(c) for c in every[0].order()):
        for found, null, (these, new) in zip(every, nulls, halves, strict=True):
            rows.append({
                "rank": rank + 1,
                "id": concept,
                "name": concepts.names[concept],
                "layer": int(layers[concept]),
                "head": int(concepts.head[concept]),
                "score": found.score,
                "importance": float(found.importance[concept]),
                "se_masks": float(found.se_masks[concept]),
                "half_width_masks": float(these[concept]),
                "se_videos": float(found.se_videos[concept]),
                "half_width_videos": float(new[concept]),
                "p_null": float(null.p[concept]),
                "videos": int(found.videos[concept]),
                "importance_present": float(found.importance_present[concept]),
            })  # fmt: skip
    write_csv(run.path("importance.csv"), rows, tuple(rows[0]))


def write_convergence(run: Run, curves: Mapping[str, Convergence]) -> None:
    """A row per score and number of masks."""
    rows = [
        {"score": score, "masks": int(m), "correlation": float(c), "low": float(low), "high": float(high)}
        for score, curve in curves.items()
        for m, c, low, high in zip(curve.masks, curve.correlation, curve.low, curve.high, strict=True)
    ]
    write_csv(run.path("convergence.csv"), rows, ("score", "masks", "correlation", "low", "high"))


def write_looks(run: Run, looks: Sequence[Look]) -> None:
    """A row per look at the ranking while it was measured."""
    columns = ("number", "masks", "top", "undecided", "noise", "stability", "low", "high", "reason")
    write_csv(run.path("looks.csv"), [{name: getattr(look, name) for name in columns} for look in looks], columns)


def write_curves(run: Run, curves: Sequence[Curves]) -> None:
    """Points and areas."""
    points, areas = [], []
    for c in curves:
        clips = c.scores.shape[1]
        for o, order in enumerate(c.orders):
            for s, removed in enumerate(c.removed):
                values = c.scores[o, :, s]
                error = float(values.std(ddof=1) / np.sqrt(clips)) if clips > 1 else float("nan")
                row = (c.score, order, int(removed), float(c.fraction[s]), float(values.mean()), error)
                points.append(dict(zip(("score", "order", "removed", "fraction", "mean", "se"), row, strict=True)))
            row = (c.score, order, float(c.areas[o]), float(c.areas_se[o]), released_area(c.scores[o].mean(0)))
            areas.append(dict(zip(("score", "order", "area", "se", "released_area"), row, strict=True)))
    write_csv(run.path("curves.csv"), points, ("score", "order", "removed", "fraction", "mean", "se"))
    write_csv(run.path("areas.csv"), areas, ("score", "order", "area", "se", "released_area"))


def write_control(run: Run, curves: Curves, control: Control) -> None:
    """One row: areas, most important first, of the concepts and of random groups, and what lies between them."""
    concepts = float(curves.areas[curves.orders.index("most-first")])
    names = ("score", "area", "random_area", "advantage", "half_width", "passed", "random_masks")
    values = (curves.score, concepts, control.area, control.advantage, control.half_width, control.passed)
    write_csv(run.path("control.csv"), [dict(zip(names, (*values, control.masks), strict=True))], names)


def write_layers(run: Run, shares: Mapping[int, float]) -> None:
    """Mean rank share of each layer's concepts."""
    rows = [{"layer": layer, "rank_share": share} for layer, share in shares.items()]
    write_csv(run.path("layers.csv"), rows, ("layer", "rank_share"))


def write_overlaps(run: Run, concepts: Concepts, overlaps: Sequence[Overlap]) -> None:
    """A row per true mask; no file where there are none."""
    columns = ("mask", "concept", "name", "miou", "se", "random_mean", "random_95")
    rows: list[dict[str, Any]] = []
    for o in overlaps:
        values = (o.mask, o.concept, concepts.names[o.concept], o.miou, o.se)
        values += (float(o.random.mean()), float(np.quantile(o.random, 0.95)))
        rows.append(dict(zip(columns, values, strict=True)))
    if rows:
        write_csv(run.path("overlaps.csv"), rows, columns)
