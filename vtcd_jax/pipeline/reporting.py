"""The last stage: everything a run found, in one HTML page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.importance import Curves, Importance
from vtcd_jax.report import OverlapRow, ReportData, describe, write
from vtcd_jax.report.citations import network_key
from vtcd_jax.runs import Run

from .settings import RunSettings, config_of
from .sources import Prepared
from .stages import Overlap, Progress, layers_of


def report_stage(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    importance: tuple[Importance, ...],
    curves: tuple[Curves, ...],
    overlaps: tuple[Overlap, ...],
    progress: Progress | None = None,
) -> Path:
    """Writes ``report/index.html`` and returns its path."""
    if progress:
        progress("report", 0, 1)
    model, held_out = prepared.model, prepared.held_out
    where = f"{len(held_out)} held-out clips" if held_out is not None else "the ranked clips themselves"
    target = settings.target
    if target is not None and target.isdecimal():
        target = model.labels[int(target)]
    if prepared.targets.origin:
        target = prepared.targets.origin
    data = ReportData(
        title=f"Concepts of {model.name}",
        model=model.name,
        description=describe(model),
        clips=prepared.clips,
        concepts=concepts,
        importance=importance,
        target=target,
        seed=settings.seed,
        labels=model.labels,
        curves=curves[0],
        curves_note=f"Drawn on {where}.",
        layers={k: v for k, v in layers_of(concepts, importance[0].order()).items()},
        overlaps=tuple(_row(o) for o in overlaps),
        overlaps_note=f"Chosen on the ranked clips, measured on {where}; random: the best of as many groups of "
        f"tubelets drawn at random within each head, chosen the same way, over {settings.controls} draws.",
        baselines=_baselines(prepared, importance),
        notes=_notes(settings, prepared, importance),
        settings=config_of(settings),
        versions=_versions(),
        methods=("vtcd", "convex-nmf", "slic", *network_key(model.config.family)),
    )
    path = write(run.path("report/index.html").parent, data, top=settings.top)
    run.event("reported", {"path": "report/index.html"})
    if progress:
        progress("report", 1, 1)
    return path


def _row(overlap: Overlap) -> OverlapRow:
    random = overlap.random
    upper = float(np.quantile(random, 0.95)) if len(random) > 1 else float("nan")
    return OverlapRow(overlap.mask, overlap.concept, overlap.miou, float(random.mean()), upper, overlap.se)


def _baselines(prepared: Prepared, importance: tuple[Importance, ...]) -> tuple[str, ...]:
    lines = [f"{i.score.replace('_', ' ')} with nothing removed: {i.baseline.mean():.4g}" for i in importance]
    known = prepared.clips.labels >= 0
    if known.any() and (prepared.targets.label >= 0).any():
        right = (prepared.clips.labels == prepared.targets.label)[known].mean()
        lines.insert(0, f"share of labelled clips whose class is the explained one: {right:.1%} of {known.sum()}")
    return tuple(lines)


def _notes(settings: RunSettings, prepared: Prepared, importance: tuple[Importance, ...]) -> tuple[str, ...]:
    notes = []
    if prepared.held_out is None:
        notes.append(
            "Too few clips to hold some out: curves were drawn on the clips that the concepts were ranked on, which "
            "flatters the ranking."
        )
    if len(prepared.clips) == 1:
        notes.append("One clip: errors for new clips are unknown.")
    unsure = np.abs(importance[0].importance) < 2 * importance[0].se_masks
    notes.append(
        f"{int(unsure.sum())} of {len(unsure)} concepts are not told from zero by these masks (below two standard "
        "errors)."
    )
    if settings.estimator == "released":
        notes.append("The released estimator is not centred: its values carry how often a concept was drawn.")
    return tuple(notes)


def _versions() -> dict[str, str]:
    from vtcd_jax.runs import manifest

    return {name: str(value) for name, value in manifest(precision="float32").items()}
