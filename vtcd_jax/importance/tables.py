"""The tables of a run folder. Their bytes depend only on the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.runs import Run, write_csv

from .controls import Control
from .cris import Ranking
from .curves import Curves, released_area
from .estimation import Convergence, Importance, Interactions, InterimAnalysis, Null

RANKING_FILES = ("importance.csv", "convergence.csv", "interactions.csv", "interim.csv", "ranking.safetensors")
CURVE_FILES = ("curves.csv", "areas.csv", "controls.csv", "layers.csv", "drawn.safetensors")


def write_ranking(run: Run, concepts: Concepts, ranking: Ranking) -> None:
    """``importance.csv``, ``convergence.csv``; ``interactions.csv`` where the passes show pairs, ``interim.csv`` where
    there were interim analyses."""
    write_importance(run, concepts, ranking.importance, ranking.nulls)
    write_convergence(run, ranking.convergence)
    if ranking.interactions is not None:
        write_interactions(run, concepts, ranking.interactions)
    if ranking.interim:
        write_interim(run, ranking.interim)


def write_importance(run: Run, concepts: Concepts, importances: Sequence[Importance], nulls: Sequence[Null]) -> None:
    """A row per concept and score, most important concept first, ranked by the first score."""
    layers = np.asarray(concepts.layers)[concepts.site]
    halves = [importance.half_widths() for importance in importances]
    rows = []
    for rank, concept in enumerate(int(c) for c in importances[0].order()):
        for importance, null, (these, new) in zip(importances, nulls, halves, strict=True):
            rows.append({
                "rank": rank + 1,
                "id": concept,
                "name": concepts.names[concept],
                "layer": int(layers[concept]),
                "head": int(concepts.head[concept]),
                "score": importance.score,
                "importance": float(importance.importance[concept]),
                "se_masks": float(importance.se_masks[concept]),
                "half_width_masks": float(these[concept]),
                "se_videos": float(importance.se_videos[concept]),
                "half_width_videos": float(new[concept]),
                "p_null": float(null.p[concept]),
                "videos": int(importance.videos[concept]),
                "importance_present": float(importance.importance_present[concept]),
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


def write_interactions(run: Run, concepts: Concepts, found: Interactions) -> None:
    """A row per pair, most significant first."""
    columns = ("score", "first", "second", "first_name", "second_name", "kind", "interaction", "se", "p", "over")
    rows = []
    for i, (first, second) in enumerate(found.pairs.tolist()):
        names = (concepts.names[first], concepts.names[second])
        figures = (found.kind(i), float(found.value[i]), float(found.se[i]), float(found.p[i]), found.over)
        rows.append(dict(zip(columns, (found.score, first, second, *names, *figures), strict=True)))
    write_csv(run.path("interactions.csv"), rows, columns)


def write_interim(run: Run, analyses: Sequence[InterimAnalysis]) -> None:
    """A row per interim analysis."""
    columns = ("number", "masks", "top", "undecided", "noise", "stability", "low", "high", "reason")
    rows = [{name: getattr(analysis, name) for name in columns} for analysis in analyses]
    write_csv(run.path("interim.csv"), rows, columns)


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


def write_controls(run: Run, curves: Curves, controls: Sequence[Control]) -> None:
    """A row per control: areas, most important first, of the concepts and of its groups, and their difference."""
    concepts = float(curves.areas[curves.orders.index("most-first")])
    columns = ("control", "score", "area", "control_area", "advantage", "half_width", "passed", "control_masks")
    rows = []
    for c in controls:
        values = (c.kind, curves.score, concepts, c.area, c.advantage, c.half_width, c.passed, c.masks)
        rows.append(dict(zip(columns, values, strict=True)))
    write_csv(run.path("controls.csv"), rows, columns)


def write_layers(run: Run, layers: Mapping[int, float]) -> None:
    """Mean normalised rank of each layer's concepts."""
    rows = [{"layer": layer, "rank_share": rank} for layer, rank in layers.items()]
    write_csv(run.path("layers.csv"), rows, ("layer", "rank_share"))
