"""From paths to ``Clips``: find, sample, resize, label. Everything that is wrong is said at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vtcd_jax.data.clips import Clips
from vtcd_jax.data.labels import class_indices, read_labels
from vtcd_jax.data.notices import InputWarning, SkippedClips, some, warn
from vtcd_jax.data.resize import resize
from vtcd_jax.data.sampling import Sampling
from vtcd_jax.data.video import sample_video
from vtcd_jax.models import InputError, Model, Preprocessing

from .images.frames import sample_frames, sample_masks
from .listing.layout import list_clips
from .listing.search import Source

Paths = str | os.PathLike | Iterable[str | os.PathLike]
Labels = Mapping[str, str] | str | os.PathLike


class Decoded(NamedTuple):
    """One clip.

    video:   uint8 [time, height, width, 3], RGB.
    mask:    bool [time, height, width], the clip's own mask; None where a frame has none.
    remarks: what a user should know about it.
    """

    video: np.ndarray
    mask: np.ndarray | None
    remarks: tuple[str, ...] = ()


def read_clips(
    paths: Paths,
    model: Model | Preprocessing,
    *,
    sampling: Sampling | None = None,
    labels: Labels | None = None,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> Clips:
    """Clips as a model takes them, from video files, folders of frames and, where it takes one frame, images.

    paths:    a file, a folder, or a list of either; ``vtcd_jax.data.listing.layout`` says what counts as a clip.
    model:    the model, or its preprocessing alone: number of frames, height, width and stride.
    labels:   {clip name: class name} or a file of labels (``vtcd_jax.data.labels``); without it, a folder called like
              a class labels its clips.
    classes:  the class names; the model's own if None.
    skip_bad: leave out clips that cannot be used, with a warning (SkippedClips) that has their names and reasons.
    on_clip:  called with (clips read, clips in all) after each, for a progress bar.

    Returns Clips with uint8 RGB at the model's size, all in memory (``vtcd_jax.data.sources.open_clips`` decodes on
    demand). ``masks["target"]`` is there if every clip has a mask for every frame that was sampled. Warns
    (InputWarning) about what was left out or changed. Raises InputError that names every clip that cannot be used.
    """
    sampling = sampling or Sampling()
    p = preprocessing_of(model)
    found = list_clips(paths, images=p.num_frames == 1)
    numbers = labels_of(found.sources, model, labels, classes)
    video = np.empty((len(found.sources), p.num_frames, p.height, p.width, 3), np.uint8)
    masks: list[np.ndarray | None] = []
    kept: list[int] = []
    problems, remarks = dict(found.problems), Remarks()
    for i, (source, decoded) in enumerate(decode_all(found.sources, sampling, p)):
        if isinstance(decoded, InputError):
            problems[source.name] = str(decoded)
        else:
            video[len(kept)] = decoded.video
            masks.append(decoded.mask)
            kept.append(i)
            remarks.add(source, decoded)
        if on_clip:
            on_clip(i + 1, len(found.sources))
    refuse(problems, kept, skip_bad)
    remarks.warn()
    known = [mask for mask in masks if mask is not None]
    return Clips.make(
        video[: len(kept)],
        [found.sources[i].name for i in kept],
        labels=np.array(numbers, np.int32)[kept],
        masks={"target": np.stack(known)} if len(known) == len(kept) else {},
    )


def preprocessing_of(model: Model | Preprocessing) -> Preprocessing:
    """What clips must look like."""
    return model if isinstance(model, Preprocessing) else model.preprocessing


def read_source(source: Source, sampling: Sampling, preprocessing: Preprocessing) -> Decoded:
    """One clip, sampled and resized. Raises InputError, naming the file, where it cannot be used."""
    height, width, frames = preprocessing.height, preprocessing.width, preprocessing.num_frames
    stride = preprocessing.stride if sampling.stride is None else sampling.stride
    convert = partial(resize, height=height, width=width, antialias=sampling.antialias)
    if not source.frames:
        remarks: list[str] = []
        video = sample_video(source.path, sampling, num_frames=frames, stride=stride, convert=convert, remarks=remarks)
        return Decoded(video, None, tuple(remarks))
    clip = sample_frames(source.frames, sampling, num_frames=frames, stride=stride, convert=convert)
    if source.masks is None:
        return Decoded(clip, None)
    mask = sample_masks(
        source.frames, source.masks, sampling, num_frames=frames, stride=stride, height=height, width=width
    )
    return Decoded(clip, mask)


def decode_all(
    sources: Iterable[Source], sampling: Sampling, preprocessing: Preprocessing
) -> Iterator[tuple[Source, Decoded | InputError]]:
    """Each clip in turn, or what is wrong with it."""
    for source in sources:
        try:
            yield source, read_source(source, sampling, preprocessing)
        except InputError as error:
            yield source, error


def labels_of(
    sources: Sequence[Source], model: Model | Preprocessing, labels: Labels | None, classes: Sequence[str] | None
) -> list[int]:
    """The class of each clip, -1 where unknown; ``classes`` None takes the model's own."""
    classes = tuple(getattr(model, "labels", ()) if classes is None else classes)
    if isinstance(labels, (str, os.PathLike)):
        return class_indices(sources, classes, read_labels(Path(labels)), str(labels))
    return class_indices(sources, classes, labels)


def refuse(problems: Mapping[str, str], kept: Sequence[int], skip_bad: bool) -> None:
    """Warns of the clips that cannot be used where they may be skipped and others are left; else InputError."""
    if not problems:
        return
    if skip_bad and kept:
        warn(SkippedClips(problems, len(problems) + len(kept)))
        return
    raise InputError(grouped(list(problems.values())))


def grouped(problems: Sequence[str]) -> str:
    """A line per problem; those that differ only in the file share a line that names all the files."""
    split = [problem.partition(": ") for problem in problems]
    counts = Counter(reason for _, _, reason in split)
    lines: dict[str, list[str]] = {}
    for (path, _, reason), problem in zip(split, problems, strict=True):
        lines.setdefault(reason if counts[reason] > 1 and "\n" not in problem else problem, []).append(path)
    return "\n".join(
        line if len(paths) == 1 else f"{len(paths)} clips, {line}: {', '.join(paths)}" for line, paths in lines.items()
    )


class Remarks:
    """Collects remarks about clips, so that each kind becomes one warning."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, source: Source, decoded: Decoded) -> None:
        for remark in decoded.remarks:
            self._names.setdefault(remark, []).append(source.name)

    def warn(self) -> None:
        for remark, names in self._names.items():
            warn(InputWarning(f"{len(names)} clips are {remark}: {some(names)}"))
