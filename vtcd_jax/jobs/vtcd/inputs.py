"""Inputs of a run of VTCD: the model, the clips, their targets, and the held-out clips."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts import concept_sites
from vtcd_jax.concepts.discovery import check_features
from vtcd_jax.data import ClipSource
from vtcd_jax.data.inputs import check_query, seen_clips
from vtcd_jax.data.notices import SkippedClips, recorded
from vtcd_jax.data.query import with_query
from vtcd_jax.devices.precision import resolved_dtype
from vtcd_jax.importance.named_designs import check_slopes, slope_rows, sloped_scores
from vtcd_jax.models import Model, describe, load, model_hashes
from vtcd_jax.runs import Progress, Run, Step, manifest, write_csv
from vtcd_jax.scores import (
    Score,
    Targets,
    check_scores,
    class_count,
    class_index,
    default_scores,
    find_targets,
    follows_query,
    misclassified,
    score_functions,
)
from vtcd_jax.scores.functions import is_smooth
from vtcd_jax.world.sources import open_sources

from .settings import RunSettings

MIN_HELD_OUT = 4
READ = Step("read", "reading", "clip", brief=True)
CLIP_COLUMNS = ("clip", "sha256", "role", "label", "target", "misclassified")


@dataclass(frozen=True)
class VtcdInputs:
    """A run's model and clips.

    clips:         for discovery and ranking.
    held_out:      for the curves; None with too few clips.
    scores:        names of the measured scores; concepts are ranked by the first.
    targets, held_out_targets: targets of the clips.
    misclassified: names of the clips that the unmodified model gets wrong; left out with ``only_correct``.
    unreadable:    clips that were left out because they cannot be read (``skip_bad``), with the reason.
    """

    model: Model
    clips: ClipSource
    held_out: ClipSource | None
    scores: tuple[str, ...]
    targets: Targets
    held_out_targets: Targets | None
    misclassified: tuple[str, ...] = ()
    only_correct: bool = False
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def design(self, settings: RunSettings) -> str:
        """The name of the design of the ranking and its controls."""
        return settings.design_for(score_functions(self.scores))

    def sloped(self, settings: RunSettings) -> dict[str, Score]:
        """The scores whose slopes are measured, name -> function."""
        return sloped_scores(self.design(settings), score_functions(self.scores))


def load_inputs(settings: RunSettings, progress: Progress) -> VtcdInputs:
    """Loads the model, checks the settings against it, then reads the clips. Raises InputError; writes nothing."""
    model, clips, scores, unreadable = _opened(settings, progress)
    targets = find_targets(model, clips, target=settings.target, reference=settings.reference)
    wrong = misclassified(model, clips, targets)
    if settings.only_correct:
        right = [i for i, name in enumerate(clips.names) if name not in wrong]
        if not right:
            raise InputError("--only-correct: the unmodified model gets every clip wrong; leave the option out")
        clips, targets = clips[right], targets[right]
    ranked, held_out = split(clips, settings.hold_out, settings.seed)
    check_features(model, ranked, concept_sites(model, settings.site), settings.nmf)

    def targets_of(subset: ClipSource) -> Targets:
        rows = {name: i for i, name in enumerate(clips.names)}
        return targets[[rows[name] for name in subset.names]]

    held_out_targets = None if held_out is None else targets_of(held_out)
    return VtcdInputs(
        model, ranked, held_out, scores, targets_of(ranked), held_out_targets, wrong, settings.only_correct, unreadable
    )


def sketch_inputs(settings: RunSettings, progress: Progress) -> VtcdInputs:
    """The same for a dry run: the model is not run on every clip, so no clip is known to be misclassified, none is
    left out for it, and every target is the first class or the first clip's mask."""
    model, clips, scores, unreadable = _opened(settings, progress)
    ranked, held_out = split(clips, settings.hold_out, settings.seed)
    target = settings.target if settings.target is not None else (0 if class_count(model) else None)

    def of(part: ClipSource) -> Targets:
        first = find_targets(model, part[[0]], target=target, reference=settings.reference)
        return replace(first[[0] * len(part)], hashes=part.hashes)

    return VtcdInputs(
        model, ranked, held_out, scores, of(ranked), None if held_out is None else of(held_out), unreadable=unreadable
    )


def _opened(settings: RunSettings, progress: Progress) -> tuple[Model, ClipSource, tuple[str, ...], Mapping[str, str]]:
    """(model, clips, names of the scores, clip that cannot be read -> reason): loaded, and the settings checked."""
    model = load(settings.model)
    concept_sites(model, settings.site)
    scores = tuple(dict.fromkeys(settings.scores or fitting_scores(model, settings.design)))
    check_scores(model, scores)
    named = score_functions(scores)
    design = settings.design_for(named)
    check_slopes(design, named)
    if design in ("slopes", "joined"):
        slope_rows(design, settings.fewest_masks, len(sloped_scores(design, named)))
    if settings.target is not None:
        class_index(model, settings.target)
    if settings.query is not None and not follows_query(model):
        raise InputError(f"model {model.name!r} follows no query mask, so --query has no meaning; leave it out")
    with recorded() as warned:
        clips = open_sources(
            settings.clips, model, sampling=settings.sampling, labels=settings.labels, seed=settings.seed,
            skip_bad=settings.skip_bad, on_clip=lambda done, total: progress(READ, done, total),
        )  # fmt: skip
        clips = with_query(clips, settings.query) if follows_query(model) else seen_clips(model, clips)
    skipped = (warning for warning in warned if isinstance(warning, SkippedClips))
    check_query(model, clips)
    return model, clips, scores, {name: reason for warning in skipped for name, reason in warning.reasons.items()}


def fitting_scores(model: Model, design: str) -> tuple[str, ...]:
    """The network's default scores; under the design "slopes", where each score costs two passes more, the first
    smooth one."""
    scores = default_scores(model)
    smooth = [name for name in scores if is_smooth(score_functions(name)[name])]
    return tuple(smooth[:1]) if design == "slopes" and smooth else scores


def split(clips: ClipSource, fraction: float, seed: int) -> tuple[ClipSource, ClipSource | None]:
    """(clips for discovery and ranking, held-out clips): by hash of the pixels and seed, independent of their order.

    fraction: fraction of the clips to hold out; none are held out if that makes fewer than four.
    """
    count = round(fraction * len(clips))
    if count < MIN_HELD_OUT or len(clips) - count < 2:
        return clips, None
    draw = [hashlib.sha256(f"{seed}/{h}".encode()).hexdigest() for h in clips.pixel_hashes]
    chosen = set(sorted(range(len(clips)), key=draw.__getitem__)[:count])
    hashes = {clips.pixel_hashes[i] for i in chosen}  # equal pixels stay on one side
    held = [i for i in range(len(clips)) if clips.pixel_hashes[i] in hashes]
    ranked = [i for i in range(len(clips)) if clips.pixel_hashes[i] not in hashes]
    return (clips[ranked], clips[held]) if len(ranked) > 1 else (clips, None)


def resolve(settings: RunSettings, inputs: VtcdInputs) -> RunSettings:
    """The settings with the model's default scores, and the design that fits them, filled in."""
    return replace(settings, scores=inputs.scores, design=inputs.design(settings))


def input_hashes(settings: RunSettings, inputs: VtcdInputs) -> dict[str, Any]:
    """Further entries of ``config.json``: clips and model files with their hashes, a description of the model, versions
    and device."""
    model, held_out = inputs.model, inputs.held_out
    return {
        "clips": dict(zip(inputs.clips.names, inputs.clips.hashes, strict=True)),
        "held_out": {} if held_out is None else dict(zip(held_out.names, held_out.hashes, strict=True)),
        "left_out": dict(inputs.unreadable),
        "model": model_hashes(settings.model),
        "network": {"name": model.name, "family": model.config.family, "description": describe(model)},
        "targets": inputs.targets.origin,
        "made_with": manifest(precision=resolved_dtype(settings.precision)),
    }


def write_clips(run: Run, inputs: VtcdInputs) -> None:
    """``clips.csv``: a row per clip, with its class, its target and its use.

    ``skipped.csv``: the clips that were left out because they cannot be read, if there are any.
    """
    rows = _clip_rows(inputs, "ranked", inputs.clips, inputs.targets)
    if inputs.held_out is not None and inputs.held_out_targets is not None:
        rows += _clip_rows(inputs, "held out", inputs.held_out, inputs.held_out_targets)
    write_csv(run.path("clips.csv"), rows, CLIP_COLUMNS)
    if inputs.unreadable:
        skipped = [{"clip": name, "reason": reason} for name, reason in inputs.unreadable.items()]
        write_csv(run.path("skipped.csv"), skipped, ("clip", "reason"))


def _clip_rows(inputs: VtcdInputs, role: str, clips: ClipSource, targets: Targets) -> list[dict[str, Any]]:
    labels, wrong = inputs.model.labels, set(inputs.misclassified)

    def name(label: int) -> str | None:
        return labels[label] if 0 <= label < len(labels) else None

    values = zip(clips.names, clips.hashes, clips.labels, targets.label, strict=True)
    return [
        dict(zip(CLIP_COLUMNS, (clip, sha256, role, name(int(label)), name(int(target)), clip in wrong), strict=True))
        for clip, sha256, label, target in values
    ]


def facts(inputs: VtcdInputs) -> list[str]:
    """Lines about the clips that the unmodified model gets wrong: their score can hardly show a removed concept."""
    lines = []
    if inputs.misclassified:
        action = "left out" if inputs.only_correct else "kept (--only-correct leaves them out)"
        wrong = inputs.misclassified
        lines.append(f"the unmodified model gets {_count(wrong)} wrong, {action}: {_few(wrong)}")
    return lines


def _count(clips: Sequence[str] | Mapping[str, str]) -> str:
    return f"{len(clips)} clip{'' if len(clips) == 1 else 's'}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
