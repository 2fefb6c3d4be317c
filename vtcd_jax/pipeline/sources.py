"""A run's model and clips, and which clips are held out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.data import Clips, read_clips, world
from vtcd_jax.importance.score import class_index, default_scores, score_functions, targets
from vtcd_jax.models import InputError, Model, load

from .settings import RunSettings

LEAST_HELD_OUT = 4


@dataclass(frozen=True)
class Prepared:
    """A run's model and clips.

    clips: for discovery and ranking.  held_out: for the curves; None where there are too few clips.
    scores: names of what is measured, the one to rank by first.
    labels, held_out_labels: int32 [video], each clip's target class.
    """

    model: Model
    clips: Clips
    held_out: Clips | None
    scores: tuple[str, ...]
    labels: np.ndarray
    held_out_labels: np.ndarray | None


def prepare(settings: RunSettings, on_clip: Callable[[int, int], None] | None = None) -> Prepared:
    """Loads the model, checks the settings against it, then reads the clips. Raises InputError; writes nothing."""
    model = load(settings.model)
    scores = settings.scores or default_scores(model)
    score_functions(scores)
    if settings.target is not None:
        class_index(model, settings.target)
    clips = find_clips(settings, model, on_clip)
    check_finite(model)
    ranked, held_out = split(clips, settings)
    labels = targets(model, ranked, settings.target)
    held_out_labels = None if held_out is None else targets(model, held_out, settings.target)
    return Prepared(model, ranked, held_out, tuple(scores), labels, held_out_labels)


def find_clips(settings: RunSettings, model: Model, on_clip: Callable[[int, int], None] | None = None) -> Clips:
    """Clips from files, or from the synthetic world's held-out part for ``world:COUNT``."""
    if not settings.clips.startswith("world:"):
        sampling = settings.sampling
        return read_clips(settings.clips, model, sampling=sampling, labels=settings.labels, on_clip=on_clip)
    count, p = settings.clips.removeprefix("world:"), model.preprocessing
    if not count.isdigit() or not int(count):
        raise InputError(f"clips {settings.clips!r}: give world:COUNT, such as world:32")
    if p.height != p.width:
        raise InputError(f"clips of the synthetic world are square; the model takes {p.height} x {p.width}")
    config = world.WorldConfig(size=p.height, frames=p.num_frames)
    return world.clips(int(count), seed=settings.seed, config=config, split="held-out")


def split(clips: Clips, settings: RunSettings) -> tuple[Clips, Clips | None]:
    """(clips for discovery and ranking, held-out clips): by content hash and seed, whatever the order of the clips."""
    count = round(settings.hold_out * len(clips))
    if count < LEAST_HELD_OUT or len(clips) - count < 2:
        return clips, None
    draw = [hashlib.sha256(f"{settings.seed}/{h}".encode()).hexdigest() for h in clips.hashes]
    chosen = set(sorted(range(len(clips)), key=draw.__getitem__)[:count])
    held = [i for i in range(len(clips)) if i in chosen]
    return clips[[i for i in range(len(clips)) if i not in chosen]], clips[held]


def check_finite(model: Model) -> None:
    """Raises InputError for weights that are not finite, naming the first."""
    from vtcd_jax.models.files import flatten

    for name, leaf in flatten(model.params).items():
        if not np.isfinite(np.asarray(leaf)).all():
            raise InputError(f"model {model.name!r}: {name} holds values that are not finite; convert it again")


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
        "made_with": manifest(precision="float32"),
    }


def model_hashes(folder_or_name: str) -> dict[str, str]:
    """SHA-256 of a model folder's files."""
    from vtcd_jax.models.registry import WEIGHTS
    from vtcd_jax.runs import file_sha256

    folder = WEIGHTS / folder_or_name if (WEIGHTS / folder_or_name).is_dir() else Path(folder_or_name)
    return {p.name: file_sha256(p) for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".json")}
