"""From paths to ``Clips``: find, sample, resize, label. Everything that is wrong is said at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from vtcd_jax.data.clips import Clips
from vtcd_jax.data.frames import sample_frames, sample_masks
from vtcd_jax.data.layout import Source, class_of, find_clips, read_labels
from vtcd_jax.data.resize import resize
from vtcd_jax.data.sampling import Sampling
from vtcd_jax.data.video import sample_video
from vtcd_jax.models import InputError, Model, Preprocessing

_SHOWN = 20


def read_clips(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    model: Model | Preprocessing,
    *,
    sampling: Sampling | None = None,
    labels: Mapping[str, str] | str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> Clips:
    """Clips as a model takes them, from video files and folders of frames.

    paths:    a file, a folder, or a list of either; ``vtcd_jax.data.layout`` says what counts as a clip.
    model:    the model, or its preprocessing alone: number of frames, height, width and stride.
    labels:   {clip name: class name} or a JSON file of that; without it, a folder called like a class labels
              its clips.
    classes:  the class names; the model's own if None.
    on_clip:  called with (clips read, clips in all) after each, for a progress bar.

    Returns Clips with uint8 RGB at the model's size. ``masks["target"]`` is there if every clip has a mask
    for every frame that was sampled. Raises InputError with one line per clip that cannot be used.
    """
    sampling = sampling or Sampling()
    preprocessing = model if isinstance(model, Preprocessing) else model.preprocessing
    classes = tuple(getattr(model, "labels", ()) if classes is None else classes)
    sources = find_clips(paths)
    numbers = _labels(sources, classes, labels)
    shape = (preprocessing.num_frames, preprocessing.height, preprocessing.width)
    video = np.empty((len(sources), *shape, 3), np.uint8)
    masks: list[np.ndarray | None] = []
    problems = []
    for i, source in enumerate(sources):
        try:
            video[i], mask = _read(source, sampling, preprocessing)
            masks.append(mask)
        except InputError as error:
            problems.append(str(error))
        if on_clip:
            on_clip(i + 1, len(sources))
    _refuse(problems)
    known = [mask for mask in masks if mask is not None]
    return Clips.make(
        video,
        [source.name for source in sources],
        labels=np.array(numbers, np.int32),
        masks={"target": np.stack(known)} if len(known) == len(sources) else {},
    )


def _read(source: Source, sampling: Sampling, preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray | None]:
    height, width, frames = preprocessing.height, preprocessing.width, preprocessing.num_frames
    stride = preprocessing.stride if sampling.stride is None else sampling.stride
    convert = partial(resize, height=height, width=width, antialias=sampling.antialias)
    if not source.frames:
        return sample_video(source.path, sampling, num_frames=frames, stride=stride, convert=convert), None
    clip = sample_frames(source.frames, sampling, num_frames=frames, stride=stride, convert=convert)
    if source.masks is None:
        return clip, None
    return clip, sample_masks(
        source.frames, source.masks, sampling, num_frames=frames, stride=stride, height=height, width=width
    )


def _labels(
    sources: list[Source], classes: tuple[str, ...], labels: Mapping[str, str] | str | os.PathLike | None
) -> list[int]:
    origin = "labels"
    if isinstance(labels, (str, os.PathLike)):
        origin, labels = str(labels), read_labels(Path(labels))
    numbers, problems = [], []
    for source in sources:
        try:
            numbers.append(class_of(source, classes, labels, origin))
        except InputError as error:
            problems.append(str(error))
    _refuse(problems)
    if labels and all(number < 0 for number in numbers):
        raise InputError(f"{origin}: names none of the {len(sources)} clips; the first clip is {sources[0].name!r}")
    return numbers


def _refuse(problems: list[str]) -> None:
    if problems:
        rest = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InputError("\n".join(problems[:_SHOWN] + rest))
