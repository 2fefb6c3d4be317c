"""The stages that compute: concepts, importance, curves. Each leaves its results in the run folder.

    discover   concepts.safetensors, concepts_labels.npz, concepts.csv
    rank       scores/rank/*.safetensors (a file per finished block of masks), importance.csv
    curves     held_out/ (the same concepts on the held-out clips), scores/curves/*, curves.csv, areas.csv, layers.csv,
               overlaps.csv (where true masks are known)

A stage that finds its results, or some of its blocks, goes on from there: the random draws depend on the seed, the
clip's content and the mask's index alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from vtcd_jax.concepts import (
    Concepts,
    assign,
    best_overlap,
    concept_sites,
    discover,
    load_concepts,
    random_overlaps,
    save_concepts,
)
from vtcd_jax.data import Clips
from vtcd_jax.importance import (
    Curves,
    Importance,
    Support,
    Targets,
    importance_from_scores,
    layer_importance,
    released_area,
)
from vtcd_jax.importance.curves import curve_gates, curves_from_scores, removal_counts
from vtcd_jax.importance.designs import Design, Explicit, Random
from vtcd_jax.importance.engine import block_size, pick_chunk, score_blocks
from vtcd_jax.importance.ranking import players_of
from vtcd_jax.importance.score import score_functions
from vtcd_jax.models import InputError, Model
from vtcd_jax.models.files import write_json
from vtcd_jax.runs import FORMAT, Run, read_config

from .settings import RunSettings
from .sources import Prepared

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total)."""


@dataclass(frozen=True)
class Overlap:
    """The concept chosen on the ranked clips for its overlap with a true mask, judged on ``judged_on`` clips.

    mask: its name.  concept: id.  miou, se: mean IoU with its standard error.  random: float [draw], mean IoU of the
    best of as many random tubelet groups, chosen the same way.
    """

    mask: str
    concept: int
    miou: float
    se: float
    random: np.ndarray


def stage_key(settings: RunSettings, stage: str) -> jax.Array:
    """The seed of a stage."""
    return jax.random.fold_in(jax.random.key(settings.seed), zlib.crc32(stage.encode()))


def discover_stage(run: Run, settings: RunSettings, prepared: Prepared, progress: Progress | None = None) -> Concepts:
    """Concepts of the ranked clips, from the run folder where they are there."""
    known = _known_concepts(run, run.folder)
    if known is not None:
        return known
    if progress:
        progress("segment", 0, len(prepared.clips))
    sites = concept_sites(prepared.model, settings.site)
    key = stage_key(settings, "discover")
    found = discover(
        prepared.model, prepared.clips, sites=sites, slic=settings.slic, nmf=settings.nmf, key=key, progress=progress
    )
    save_concepts(found, run.folder)
    run.event("discovered", {"concepts": len(found), "tubelets": len(found.tubelets)})
    return found


def rank_stage(
    run: Run, settings: RunSettings, prepared: Prepared, concepts: Concepts, progress: Progress | None = None
) -> tuple[Importance, ...]:
    """Importance of every concept, one for each score, and ``importance.csv``."""
    design = Random(stage_key(settings, "rank"), settings.masks, settings.ratio, players_of(settings.estimator))
    clips, support = prepared.clips, Support(concepts.ids, len(concepts))
    nothing = Explicit(np.ones((1, len(concepts)), np.float32))
    untouched = _measure(run, "untouched", settings, prepared, clips, support, nothing, prepared.targets)
    found = _measure(run, "rank", settings, prepared, clips, support, design, prepared.targets, progress)
    present = support.present()
    every = tuple(
        importance_from_scores(
            name,
            settings.estimator,
            design,
            settings.ratio,
            found[name],
            untouched[name][:, 0].astype(np.float64),
            clips,
            present,
        )
        for name in prepared.scores
    )
    _write_importance(run, concepts, every)
    run.event("ranked", {"masks": settings.masks, "scores": list(prepared.scores)})
    return every


def curves_stage(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    ranked: Importance,
    progress: Progress | None = None,
) -> tuple[tuple[Curves, ...], tuple[Overlap, ...]]:
    """Curves of every score on the held-out clips (else the ranked ones), and overlaps where true masks are known."""
    clips, targets, here = prepared.clips, prepared.targets, concepts
    if prepared.held_out is not None and prepared.held_out_targets is not None:
        clips, targets = prepared.held_out, prepared.held_out_targets
        here = _assigned(run, prepared.model, clips, concepts, progress)
    order = ranked.order()
    counts = removal_counts(len(order), settings.steps)
    gates = Explicit(curve_gates(order, counts, settings.repeats, stage_key(settings, "curves")))
    support = Support(here.ids, len(here))
    found = _measure(run, "curves", settings, prepared, clips, support, gates, targets, progress)
    curves = tuple(
        curves_from_scores(name, counts, len(order), found[name], settings.repeats) for name in prepared.scores
    )
    _write_curves(run, curves)
    _write_layers(run, concepts, order)
    overlaps = _overlaps(settings, prepared, concepts, here, progress)
    _write_overlaps(run, concepts, overlaps)
    run.event("curves drawn", {"clips": len(clips), "held_out": prepared.held_out is not None})
    return curves, overlaps


def layers_of(concepts: Concepts, order: np.ndarray) -> dict[int, float]:
    """Mean rank share of each layer's concepts (figure 8)."""
    return layer_importance(order, np.asarray(concepts.layers)[concepts.site])


def _measure(
    run: Run,
    stage: str,
    settings: RunSettings,
    prepared: Prepared,
    clips: Clips,
    support: Support,
    design: Design,
    targets: Targets,
    progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """Scores name -> float32 [video, mask]; every finished block is a file, and files that are there are not redone."""
    out = {name: np.full((len(clips), design.masks), np.nan, np.float32) for name in prepared.scores}
    total, done, size = len(clips) * design.masks, 0, block_size(design.masks)
    for video in range(len(clips)):
        for start in range(0, design.masks, size):
            block = run.read_block(_block_name(stage, clips, video, start))
            if block is not None:
                done += _fill(out, video, start, block)
    if done == total:
        return out
    if progress:
        progress(stage, done, total)
    known = ~np.isnan(next(iter(out.values())))
    blocks = score_blocks(
        prepared.model,
        clips,
        support,
        design,
        score=prepared.scores,
        targets=targets,
        chunk=_chunk(run, settings, prepared, clips, support, targets),
        skip=lambda video, start: bool(known[video, start]),
    )
    for block in blocks:
        run.write_block(_block_name(stage, clips, block.video, block.start), block.scores)
        done += _fill(out, block.video, block.start, block.scores)
        if progress:
            progress(stage, done, total)
    return out


def _chunk(
    run: Run, settings: RunSettings, prepared: Prepared, clips: Clips, support: Support, targets: Targets
) -> int:
    """Masks that run together: as told, or measured once and kept in ``config.json``, so that resuming keeps it."""
    if settings.chunk is not None:
        return settings.chunk
    config = read_config(run.folder) or {}
    if "chunk" not in config:
        size, functions = block_size(settings.masks), score_functions(prepared.scores)
        config["chunk"] = pick_chunk(prepared.model, clips[[0]], support, targets[[0]], functions, size)
        write_json(run.folder / "config.json", {"format": FORMAT, **config})
    return config["chunk"]


def _block_name(stage: str, clips: Clips, video: int, start: int) -> str:
    return f"{stage}/{clips.hashes[video][:16]}-{start:06d}"


def _fill(out: dict[str, np.ndarray], video: int, start: int, block: dict[str, np.ndarray]) -> int:
    rows = 0
    for name, values in block.items():
        rows = len(values)
        out[name][video, start : start + rows] = values
    return rows


def _assigned(run: Run, model: Model, clips: Clips, concepts: Concepts, progress: Progress | None) -> Concepts:
    """The run's concepts on the held-out clips."""
    folder = run.path("held_out/concepts.csv").parent
    known = _known_concepts(run, folder)
    if known is not None:
        return known
    if progress:
        progress("segment", 0, len(clips))
    found = assign(model, clips, concepts, progress=progress)
    save_concepts(found, folder)
    return found


def _known_concepts(run: Run, folder: Path) -> Concepts | None:
    """Concepts that lie in a folder; None where they are not there, or damaged and to be found again."""
    if not (folder / "concepts.safetensors").is_file():  # written last
        return None
    try:
        return load_concepts(folder)
    except InputError as error:
        run.event("concepts thrown away", {"folder": folder.name, "reason": str(error)})
        return None


def _overlaps(
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    here: Concepts,
    progress: Progress | None,
) -> tuple[Overlap, ...]:
    """Best concept per true mask against the best of as many random groups, chosen on the ranked clips."""
    judged = prepared.clips if prepared.held_out is None else prepared.held_out
    key, rows = stage_key(settings, "overlaps"), []
    both = {
        name: (chosen, judged.masks[name])
        for name, chosen in prepared.clips.masks.items()
        if chosen.any() and name in judged.masks and judged.masks[name].any()
    }
    if progress and both:
        progress("overlaps", 0, len(both))
    for done, (name, (choosing, masks)) in enumerate(both.items(), 1):
        best = best_overlap(concepts, choosing, here, masks)
        draws = random_overlaps(concepts, choosing, here, masks, draws=settings.controls, key=key)
        rows.append(Overlap(name, best.concept, best.held_out, best.se, draws))
        if progress:
            progress("overlaps", done, len(both))
    return tuple(rows)


def _write_importance(run: Run, concepts: Concepts, every: tuple[Importance, ...]) -> None:
    """A row per concept and score, most important concept first, ranked by the first score."""
    rank = np.argsort(every[0].order())
    layers = np.asarray(concepts.layers)[concepts.site]
    columns = ("rank", "id", "name", "layer", "head", "score", "importance", "se_masks", "se_videos", "videos")
    columns += ("importance_present",)
    rows = []
    for concept in every[0].order():
        for found in every:
            values = (
                int(rank[concept]) + 1,
                int(concept),
                concepts.names[concept],
                int(layers[concept]),
                int(concepts.head[concept]),
                found.score,
                float(found.importance[concept]),
                float(found.se_masks[concept]),
                float(found.se_videos[concept]),
                int(found.videos[concept]),
                float(found.importance_present[concept]),
            )
            rows.append(dict(zip(columns, values, strict=True)))
    from vtcd_jax.runs import write_csv

    write_csv(run.path("importance.csv"), rows, columns)


def _write_curves(run: Run, curves: tuple[Curves, ...]) -> None:
    from vtcd_jax.runs import write_csv

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


def _write_layers(run: Run, concepts: Concepts, order: np.ndarray) -> None:
    from vtcd_jax.runs import write_csv

    rows = [{"layer": layer, "rank_share": share} for layer, share in layers_of(concepts, order).items()]
    write_csv(run.path("layers.csv"), rows, ("layer", "rank_share"))


def _write_overlaps(run: Run, concepts: Concepts, overlaps: tuple[Overlap, ...]) -> None:
    from vtcd_jax.runs import write_csv

    columns = ("mask", "concept", "name", "miou", "se", "random_mean", "random_95")
    rows = []
    for o in overlaps:
        values = (o.mask, o.concept, concepts.names[o.concept], o.miou, o.se)
        values += (float(o.random.mean()), float(np.quantile(o.random, 0.95)))
        rows.append(dict(zip(columns, values, strict=True)))
    if rows:
        write_csv(run.path("overlaps.csv"), rows, columns)
