"""The stages of VTCD over a run folder: existing results are read, missing ones computed.

Random draws depend only on the run's seed, the stage's name, the clip's content and the mask's index.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.ablation import Support
from vtcd_jax.base.random import stage_key
from vtcd_jax.concepts import Concepts, assign, best_overlaps, concept_sites, discover, load_concepts, save_concepts
from vtcd_jax.concepts.cache import STAGES as DISCOVERY_BLOCKS
from vtcd_jax.concepts.files.storage import FILES as CONCEPT_FILES
from vtcd_jax.concepts.files.tables import write_overlaps
from vtcd_jax.importance import Control, Ranking, controls, make_design, rank, removal_curves, tables
from vtcd_jax.importance.controls import Sample
from vtcd_jax.importance.curves import layer_importance
from vtcd_jax.importance.measure import baselines, measure
from vtcd_jax.importance.storage import load_curves, load_ranking, save_curves, save_ranking
from vtcd_jax.jobs.job import Context, Stage
from vtcd_jax.report.drawing.charts import order_style
from vtcd_jax.report.frames import save_frames, shown_clips

from . import plan
from .inputs import VtcdInputs, write_clips
from .settings import RunSettings

Run = Context[RunSettings, VtcdInputs]


def passes_settings(context: Run) -> dict[str, Any]:
    """Settings of masked passes, as arguments of ``scores`` and the functions that use it."""
    settings = context.settings
    return {"mode": settings.mode, "chunk": settings.chunk, "dtype": settings.precision, "work": context.work}


# -- discovery --------------------------------------------------------------------------------------------------------
def _discover(context: Run) -> None:
    settings, inputs, folder = context.settings, context.inputs(), context.run.folder
    concepts = discover(
        inputs.model, inputs.clips, sites=concept_sites(inputs.model, settings.site), slic=settings.slic,
        nmf=settings.nmf, key=stage_key(settings.seed, "discover"), work=context.work,
    )  # fmt: skip
    write_clips(context.run, inputs)
    save_concepts(concepts, folder)
    context.run.event("discovered", {"concepts": len(concepts), "tubelets": len(concepts.tubelets)})


def _discover_lines(concepts: Concepts, folder: Path) -> list[str]:
    clips = f"{concepts.videos} clip{'' if concepts.videos == 1 else 's'}"
    return [f"{len(concepts)} concepts in {clips}: {folder / 'concepts.csv'}"]


DISCOVER: Stage[RunSettings, VtcdInputs] = Stage(
    name="discover",
    help="Find the concepts of a run.",
    files=("clips.csv", "skipped.csv", *CONCEPT_FILES),
    run=_discover,
    load=load_concepts,
    cost=plan.discovery_costs,
    lines=_discover_lines,
    blocks=DISCOVERY_BLOCKS,
    settings=("site", "slic", "nmf"),
)


# -- ranking ----------------------------------------------------------------------------------------------------------
def _design(context: Run, concepts: Concepts) -> Any:
    s, inputs = context.settings, context.inputs()
    return make_design(
        inputs.design(s), stage_key(s.seed, "rank"), s.masks, concepts=concepts, ratio=s.ratio,
        estimator=s.estimator_name, sloped=len(inputs.sloped(s)),
    )  # fmt: skip


def _rank(context: Run) -> None:
    settings, inputs, concepts = context.settings, context.inputs(), context.result("discover")
    ranking = rank(
        inputs.model, inputs.clips, concepts, _design(context, concepts), score=inputs.scores,
        design_name=inputs.design(settings), estimator=settings.estimator_name, targets=inputs.targets,
        key=stage_key(settings.seed, "null"), seed=settings.seed,
        stop_top=settings.stop_top if settings.stop else None, **passes_settings(context),
    )  # fmt: skip
    for interim in ranking.interim:
        context.run.event("interim analysis", {"line": interim.line()})
    tables.write_ranking(context.run, concepts, ranking)
    save_ranking(ranking, context.run.folder)
    masks = int(ranking.importance[0].masks.sum())
    context.run.event("ranked", {"masks": masks, "scores": list(inputs.scores)})


def _rank_shard(context: Run) -> None:
    """One shard's blocks of the ranking."""
    inputs, concepts = context.inputs(), context.result("discover")
    support, settings = Support.of(concepts), {"score": inputs.scores, "targets": inputs.targets}
    settings |= passes_settings(context)
    baselines(inputs.model, inputs.clips, support, **settings)
    measure(inputs.model, inputs.clips, support, _design(context, concepts), **settings)


def _rank_lines(ranking: Ranking, folder: Path) -> list[str]:
    first = ranking.importance[0]
    concepts, concept = load_concepts(folder), int(first.order()[0])
    name = f"{concepts.titles[concept]} ({concepts.names[concept]})"
    best = f"most important by {first.score.replace('_', ' ')}: {name}: {folder / 'importance.csv'}"
    lines = [*(interim.line() for interim in ranking.interim), best]
    if ranking.interactions is not None:
        lines.append(f"{ranking.interactions.line(concepts.names)}: {folder / 'interactions.csv'}")
    return lines


RANK: Stage[RunSettings, VtcdInputs] = Stage(
    name="rank",
    help="Rank the concepts of a run (after finding them, if necessary).",
    files=tables.RANKING_FILES,
    run=_rank,
    load=load_ranking,
    reads=("discover",),
    settings=("masks", "design", "ratio", "estimator", "stop", "stop_top", "mode", "scores", "precision"),
    cost=plan.ranking_costs,
    lines=_rank_lines,
    shard=_rank_shard,
    unshared=lambda settings: "was begun with --stop, which analyses all clips together" if settings.stop else "",
)


# -- curves -----------------------------------------------------------------------------------------------------------
def _curves(context: Run) -> None:
    """Curves of every score on the held-out clips (else the ranked ones), their controls, and overlaps with true masks.

    Also saves the frames that the report shows, so that it needs no clips.
    """
    settings, inputs, run = context.settings, context.inputs(), context.run
    concepts, ranking = context.result("discover"), context.result("rank")
    ranked = Sample(inputs.clips, concepts, inputs.targets)
    evaluated = _evaluated(context, concepts)
    curves = removal_curves(
        inputs.model, evaluated.clips, evaluated.concepts, ranking.importance[0].order(), score=inputs.scores,
        steps=settings.steps, repeats=settings.repeats, key=stage_key(settings.seed, "curves"),
        targets=evaluated.targets, **passes_settings(context),
    )  # fmt: skip
    compared: tuple[Control, ...] = ()
    if settings.control_masks:
        compared = controls(
            inputs.model, ranked, evaluated, curves[0], ranking.importance[0].baseline, design=inputs.design(settings),
            masks=min(settings.masks, settings.control_masks), ratio=settings.ratio,
            estimator=settings.estimator_name, key=stage_key(settings.seed, "control"), score=inputs.scores,
            **passes_settings(context),
        )  # fmt: skip
    overlaps = best_overlaps(
        inputs.model, concepts, inputs.clips, evaluated.concepts, evaluated.clips, draws=settings.controls,
        key=stage_key(settings.seed, "overlaps"), work=context.work,
    )  # fmt: skip
    tables.write_curves(run, curves)
    if compared:
        tables.write_controls(run, curves[0], compared)
    layers = layer_importance(ranking.importance[0].order(), np.asarray(concepts.layers)[concepts.site])
    tables.write_layers(run, layers)
    write_overlaps(run.path("overlaps.csv"), concepts, overlaps)
    shown = shown_clips(concepts, ranking.importance[0], overlaps, top=settings.top)
    save_frames(run.path("frames.npz"), inputs.clips, shown)
    save_curves(curves, compared, overlaps, run.folder)
    run.event("curves drawn", {"clips": len(evaluated.clips), "held_out": inputs.held_out is not None})


def _evaluated(context: Run, concepts: Concepts) -> Sample:
    """The held-out clips with the run's concepts; the ranked clips if none are held out."""
    inputs = context.inputs()
    if inputs.held_out is None or inputs.held_out_targets is None:
        return Sample(inputs.clips, concepts, inputs.targets)
    assigned = assign(inputs.model, inputs.held_out, concepts, work=context.work)
    save_concepts(assigned, context.run.path("held_out/concepts.csv").parent)
    return Sample(inputs.held_out, assigned, inputs.held_out_targets)


def _curves_lines(result: Any, folder: Path) -> list[str]:
    lines = []
    for curve in result.curves:
        areas = zip(curve.orders, curve.areas, curve.area_half_widths(), strict=True)
        text = ", ".join(f"{order_style(order)[1]} {_with_interval(area, half)}" for order, area, half in areas)
        lines.append(f"area under {curve.score.replace('_', ' ')} (95 %): {text}")
    lines += [control.line() for control in result.controls]
    for overlap in result.overlaps:
        miou = _with_interval(overlap.miou, overlap.half_width)
        lines.append(
            f"overlap with {overlap.mask.replace('_', ' ')}: mIoU {miou} (95 %), "
            f"best of as many random centres {overlap.centres.mean():.3f} (at most {overlap.centres.max():.3f}), "
            f"random groups {overlap.groups.mean():.3f} (at most {overlap.groups.max():.3f})"
        )
    held_out = (folder / "held_out" / "concepts.csv").is_file()
    count = result.curves[0].scores.shape[1]
    where = f"{count} clip{'' if count == 1 else 's'} held out" if held_out else "the ranked clips"
    return [*lines, f"curves on {where}: {folder / 'curves.csv'}"]


def _with_interval(value: float, half: float) -> str:
    """Value and half the width of its interval, which is unknown with one clip."""
    return f"{value:.3f}" if np.isnan(half) else f"{value:.3f} ± {half:.3f}"


CURVES: Stage[RunSettings, VtcdInputs] = Stage(
    name="curves",
    help="Removal (deletion) curves, layers and overlaps of a run (after the stages that they need).",
    files=(*tables.CURVE_FILES, "overlaps.csv", "frames.npz", *(f"held_out/{name}" for name in CONCEPT_FILES)),
    run=_curves,
    load=load_curves,
    reads=("discover", "rank"),
    cost=plan.curve_costs,
    lines=_curves_lines,
    blocks=("segment", "tokens"),
    settings=("steps", "repeats", "controls", "control_masks", "top"),
)
