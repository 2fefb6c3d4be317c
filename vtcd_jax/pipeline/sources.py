"""A run's model and clips, and which clips are held out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax import world
from vtcd_jax.ablation.engine import resolved_dtype
from vtcd_jax.concepts import concept_sites
from vtcd_jax.concepts.discovery import check_features
from vtcd_jax.data import Clips, read_clips
from vtcd_jax.data.inputs import check_query, seen_clips
from vtcd_jax.data.notices import InputWarning, SkippedClips, recorded
from vtcd_jax.data.query import with_query
from vtcd_jax.models import InputError, Model, load
from vtcd_jax.runs import Run, write_csv
from vtcd_jax.scores.functions import check_functions, default_scores, score_functions
from vtcd_jax.scores.targets import Targets, class_index, find_targets, follows_query, predict

from .settings import RunSettings

LEAST_HELD_OUT = 4
RESOLVED = ("chunk",)  # what config.json holds beside ``config_json``, as soon as it is known


@dataclass(frozen=True)
class Prepared:
    """A run's model and clips.

    clips: for discovery and ranking.  held_out: for the curves; None where there are too few clips.
    scores: names of what is measured, the one to rank by first.
    targets, held_out_targets: what each clip's score is about.
    wrong: names of the clips that the untouched network gets wrong; left out where ``only_correct``.
    warnings: what was said about the clips, such as which were left out.
    """

    model: Model
    clips: Clips
    held_out: Clips | None
    scores: tuple[str, ...]
    targets: Targets
    held_out_targets: Targets | None
    wrong: tuple[str, ...] = ()
    only_correct: bool = False
    warnings: tuple[InputWarning, ...] = ()


def log_warnings(run: Run, warnings: Sequence[InputWarning]) -> None:
    """Warnings about the clips into a run: an event each, and ``skipped.csv`` with the clips that were left out."""
    for warning in warnings:
        run.event("warning", {"text": str(warning)})
    skipped = {name: reason for w in warnings if isinstance(w, SkippedClips) for name, reason in w.reasons.items()}
    if skipped:
        rows = [{"clip": name, "reason": reason} for name, reason in skipped.items()]
        write_csv(run.path("skipped.csv"), rows, ("clip", "reason"))


def prepare(settings: RunSettings, on_clip: Callable[[int, int], None] | None = None) -> Prepared:
    """Loads the model, checks the settings against it, then reads the clips. Raises InputError; writes nothing."""
    model = load(settings.model)
    sites = concept_sites(model, settings.site)
    scores = tuple(dict.fromkeys(settings.scores or default_scores(model)))
    check_scores(model, scores)
    if settings.target is not None:
        class_index(model, settings.target)
    if settings.query is not None and not follows_query(model):
        raise InputError(f"model {model.name!r} follows no query mask, so --query has no meaning; leave it out")
    with recorded() as warned:
        clips = seen_clips(model, with_query(find_clips(settings, model, on_clip), settings.query))
    check_query(model, clips)
    targets = find_targets(model, clips, target=settings.target, reference=settings.reference)
    wrong = wrong_clips(model, clips, targets)
    if settings.only_correct:
        right = [i for i, name in enumerate(clips.names) if name not in wrong]
        if not right:
            raise InputError("--only-correct: the untouched network gets every clip wrong; leave the option out")
        clips, targets = clips[right], targets[right]
    ranked, held_out = split(clips, settings)
    check_features(model, ranked, sites, settings.nmf)

    rows = {name: row for row, name in enumerate(clips.names)}

    def of(part: Clips) -> Targets:
        return targets[[rows[name] for name in part.names]]

    held_out_targets = None if held_out is None else of(held_out)
    warned = tuple(warned)
    return Prepared(model, ranked, held_out, scores, of(ranked), held_out_targets, wrong, settings.only_correct, warned)


def wrong_clips(model: Model, clips: Clips, targets: Targets) -> tuple[str, ...]:
    """Names of the clips whose class the untouched network does not find most probable: their own where it is known,
    else the target's. None for networks without classes."""
    asked = np.where(clips.labels >= 0, clips.labels, targets.label)
    if not model.labels or (asked < 0).all():
        return ()
    found = predict(model, clips).argmax(-1)
    return tuple(name for name, a, f in zip(clips.names, asked, found, strict=True) if 0 <= a != f)


def find_clips(settings: RunSettings, model: Model, on_clip: Callable[[int, int], None] | None = None) -> Clips:
    """Clips from files, or from the synthetic world's held-out part for ``world:COUNT``."""
    if not settings.clips.startswith("world:"):
        sampling = settings.sampling
        return read_clips(
            settings.clips,
            model,
            sampling=sampling,
            labels=settings.labels,
            skip_bad=settings.skip_bad,
            on_clip=on_clip,
        )
    count, p = settings.clips.removeprefix("world:"), model.preprocessing
    if not count.isdigit() or not int(count):
        raise InputError(f"clips {settings.clips!r}: give world:COUNT, such as world:32")
    if p.height != p.width:
        raise InputError(f"clips of the synthetic world are square; the model takes {p.height} x {p.width}")
    if settings.labels is not None:
        raise InputError(f"--labels {settings.labels}: clips of the synthetic world carry their own; leave it out")
    config = world.WorldConfig(size=p.height, frames=p.num_frames)
    clips = world.clips(int(count), seed=settings.seed, config=config, split="held-out")
    known = {name: i for i, name in reversed(list(enumerate(model.labels)))}
    labels = [known.get(world.CLASSES[label], -1) for label in clips.labels]
    return dataclasses.replace(clips, labels=np.array(labels, np.int32))


def split(clips: Clips, settings: RunSettings) -> tuple[Clips, Clips | None]:
    """(clips for discovery and ranking, held-out clips): by pixel hash and seed, whatever the order of the clips."""
    count = round(settings.hold_out * len(clips))
    if count < LEAST_HELD_OUT or len(clips) - count < 2:
        return clips, None
    draw = [hashlib.sha256(f"{settings.seed}/{h}".encode()).hexdigest() for h in clips.pixel_hashes]
    chosen = set(sorted(range(len(clips)), key=draw.__getitem__)[:count])
    hashes = {clips.pixel_hashes[i] for i in chosen}  # equal pixels stay on one side
    held = [i for i in range(len(clips)) if clips.pixel_hashes[i] in hashes]
    ranked = [i for i in range(len(clips)) if clips.pixel_hashes[i] not in hashes]
    return (clips[ranked], clips[held]) if len(ranked) > 1 else (clips, None)


def check_scores(model: Model, scores: Sequence[str]) -> None:
    """Raises InputError for a score that is unknown or does not fit the network. Costs no arithmetic."""
    for name, function in score_functions(scores).items():
        try:
            check_functions(model, {name: function}, masks=True)
        except InputError as error:
            raise InputError(f"--scores {name}: {error}") from None


def config_json(settings: RunSettings, prepared: Prepared) -> dict[str, Any]:
    """What ``config.json`` of a run holds: settings, inputs with their hashes, versions and device."""
    from vtcd_jax.runs import manifest

    from .settings import config_of

    held_out = prepared.held_out
    return {
        "settings": config_of(settings),
        "scores": list(prepared.scores),
        "clips": dict(zip(prepared.clips.names, prepared.clips.hashes, strict=True)),
        "held_out": {} if held_out is None else dict(zip(held_out.names, held_out.hashes, strict=True)),
        "model": model_hashes(settings.model),
        "made_with": manifest(precision=resolved_dtype(settings.precision)),
    }


def model_hashes(folder_or_name: str) -> dict[str, str]:
    """SHA-256 of every file of a model folder, by its path in there."""
    from vtcd_jax.models.store import folder_of
    from vtcd_jax.runs import file_sha256

    folder = folder_of(folder_or_name)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
