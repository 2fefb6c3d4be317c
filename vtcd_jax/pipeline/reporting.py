"""The last stage: everything a run found, in one HTML page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.importance import Importance
from vtcd_jax.importance.control import Control
from vtcd_jax.report import ControlCurve, OverlapRow, ReportData, describe, write
from vtcd_jax.report.citations import network_key
from vtcd_jax.runs import Run

from .overlapping import Overlap
from .scoring import Progress
from .settings import RunSettings, config_of
from .sources import Prepared
from .stages import Drawn, Ranked, layers_of


def report_stage(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    ranked: Ranked,
    drawn: Drawn,
    progress: Progress | None = None,
) -> Path:
    """Writes ``report/index.html`` and returns its path."""
    if progress:
        progress("report", 0, 1)
    model, held_out, importance = prepared.model, prepared.held_out, ranked.importance
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
        curves=drawn.curves[0],
        control=_control(drawn.control),
        curves_note=f"Drawn on {where}.",
        layers={k: v for k, v in layers_of(concepts, importance[0].order()).items()},
        overlaps=tuple(_row(o) for o in drawn.overlaps),
        overlaps_note=f"Chosen on the ranked clips, measured on {where}; random: the best of as many groups of "
        f"tubelets drawn at random within each head, chosen the same way, over {settings.controls} draws.",
        baselines=_baselines(prepared, importance),
        notes=_notes(settings, prepared, ranked),
        convergence=ranked.convergence.get(importance[0].score),
        settings=config_of(settings),
        versions=_versions(settings),
        methods=("vtcd", "convex-nmf", "slic", *network_key(model.config.family)),
    )
    path = write(run.path("report/index.html").parent, data, top=settings.top)
    run.event("reported", {"path": "report/index.html"})
    if progress:
        progress("report", 1, 1)
    return path


def _control(control: Control | None) -> ControlCurve | None:
    if control is None:
        return None
    words = (
        f"Random groups of the same tubelets, ranked with {control.masks:.0f} masks per clip and removed in the same "
        f"way. {control.line()[0].upper()}{control.line()[1:]}."
    )
    return ControlCurve(control.scores.mean(0), control.area, control.passed, words)


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


def _notes(settings: RunSettings, prepared: Prepared, ranked: Ranked) -> tuple[str, ...]:
    first, notes = ranked.importance[0], []
    if prepared.held_out is None:
        notes.append(
            "Too few clips to hold some out: curves were drawn on the clips that the concepts were ranked on, which "
            "flatters the ranking."
        )
    if len(prepared.clips) == 1:
        notes.append("One clip: errors for new clips are unknown.")
    notes += _notes_on_clips(prepared)
    notes.append(_note_on_chance(ranked))
    copies = len(prepared.clips) - first.distinct
    if copies:
        notes.append(f"Clips with the content of another: {copies}. Errors count each content once.")
    if first.pooled:
        notes.append(
            f"Errors are pooled over the concepts in {first.pooled} of {len(prepared.clips)} clips: their masks are "
            "fewer than three whole blocks of the design."
        )
    if ranked.looks:
        notes.append(f"Masking stopped early or not: {ranked.looks[-1].line()}.")
    if settings.mode != "zero":
        notes.append(f"Removed values were replaced ({settings.mode}), not zeroed as in the paper.")
    if first.estimator == "released":
        notes.append("The released estimator is not centred: its values carry how often a concept was drawn.")
    return tuple(notes)


def _note_on_chance(ranked: Ranked) -> str:
    """How many concepts the masks do not tell from chance. An unknown error tells nothing from zero."""
    first, p = ranked.importance[0], ranked.nulls[0].p
    unsure = ~(np.abs(first.importance) > first.half_widths()[0])
    note = f"The 95 % interval includes zero for {int(unsure.sum())} of {len(unsure)} concepts (by these masks)"
    if np.isnan(p).all():
        return note + "."
    return (
        f"{note}; {int((p < 0.05).sum())} stand out of what chance gives, where their effect is dealt anew among the "
        "masks (p < 0.05 for all concepts together)."
    )


def _notes_on_clips(prepared: Prepared) -> list[str]:
    if not prepared.wrong:
        return []
    done = "were left out" if prepared.only_correct else "were kept; removing concepts can hardly lower their score"
    count = len(prepared.wrong)
    return [f"Clips that the untouched network gets wrong {done}: {count}."]


def _versions(settings: RunSettings) -> dict[str, str]:
    from vtcd_jax.ablation.engine import resolved_dtype
    from vtcd_jax.runs import manifest

    return {name: str(value) for name, value in manifest(precision=resolved_dtype(settings.precision)).items()}
