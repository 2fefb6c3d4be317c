"""Clips as commands name them: files, folders, or ``world:COUNT`` for held-out clips of the synthetic world."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.data import Sampling, open_clips
from vtcd_jax.data.read import Decoded
from vtcd_jax.data.sources import LazyClips, keeping_last
from vtcd_jax.data.tracking import query_mask
from vtcd_jax.models import Model

from .generator import CLASSES, DEFAULT, MASKS, WorldConfig, clip_seeds, sample

PREFIX = "world:"


def open_sources(
    clips: str,
    model: Model,
    *,
    sampling: Sampling,
    labels: str | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> LazyClips:
    """Clips as the model takes them, decoded or drawn when they are read.

    clips:    a video file, a folder of clips, or ``world:COUNT``.  labels: file of class names, for real clips.
    seed:     of the synthetic world.
    skip_bad: leave out clips that cannot be read, with a warning (``data.notices.SkippedClips``).
    on_clip:  called with (clips seen, clips in all).
    Raises InputError for clips that cannot be read, and as ``open_clips`` does.
    """
    if not clips.startswith(PREFIX):
        return open_clips(clips, model, sampling=sampling, labels=labels, skip_bad=skip_bad, on_clip=on_clip)
    count, p = clips.removeprefix(PREFIX), model.preprocessing
    if not count.isdigit() or not int(count):
        raise InputError(f"clips {clips!r}: give world:COUNT, such as world:32")
    if p.height != p.width:
        raise InputError(f"clips of the synthetic world are square; the model takes {p.height} x {p.width}")
    if labels is not None:
        raise InputError(f"--labels {labels}: clips of the synthetic world have labels; leave it out")
    config = WorldConfig(size=p.height, frames=p.num_frames)
    made = open_world(int(count), seed=seed, config=config, split="held-out", on_clip=on_clip)
    known = {name: i for i, name in reversed(list(enumerate(model.labels)))}
    own = [known.get(CLASSES[label], -1) for label in made.labels]
    return dataclasses.replace(made, labels=np.array(own, np.int32))


def open_world(
    count: int,
    seed: int,
    *,
    config: WorldConfig = DEFAULT,
    split: str = "train",
    on_clip: Callable[[int, int], None] | None = None,
) -> LazyClips:
    """``generator.clips``, of all classes, drawn when they are read: same pixels, names, hashes and masks."""
    names, labels, seeds = clip_seeds(count, seed, split)
    shape = (config.frames, config.size, config.size)

    def draw(number: int) -> Decoded:
        clip = sample(seeds[number], int(labels[number]), config, split)
        return Decoded(clip.video, {name: getattr(clip, name) for name in MASKS})

    decode = keeping_last(draw, shape, masks=len(MASKS))
    hashes, queries = [], np.empty((count, config.size, config.size), bool)
    for number in range(count):
        clip = decode(number)
        hashes.append(clip.pixel_hash)
        queries[number] = query_mask(clip.masks["target_whole"])[0]
        if on_clip:
            on_clip(number + 1, count)
    made = LazyClips(names, tuple(hashes), labels, shape, MASKS, np.arange(count), decode)
    return made.with_queries(queries)
