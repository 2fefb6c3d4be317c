"""From paths to ``Clips``: find, sample, resize, label. Everything that is wrong is said at once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from vtcd_jax.models import InputError, Model, Preprocessing

from .clips import Clips, content_hash
from .images.frames import sample_frames, sample_masks
from .listing.label_files import read_labels
from .listing.labels import class_indices
from .listing.layout import Listing, list_clips
from .listing.search import Source
from .notices import InputWarning, SkippedClips, some, warn
from .resize import resize
from .sampling import Sampling
from .video.reading import sample_video

Paths = str | os.PathLike | Iterable[str | os.PathLike]
Labels = Mapping[str, str] | str | os.PathLike


@dataclass(frozen=True, eq=False)
class Decoded:
    """One clip.

    video:   uint8 [time, height, width, 3], RGB.
    masks:   its true masks by name, each bool [time, height, width]; those that every frame has.
    remarks: what a user should know about it.
    """

    video: np.ndarray
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @cached_property
    def pixel_hash(self) -> str:
        """``content_hash`` of its pixels."""
        return content_hash(self.video)


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

    paths:    a file, a folder, or a list of either; ``vtcd_jax.data.listing`` says what counts as a clip.
    model:    the model, or its preprocessing alone: number of frames, height, width and stride.
    labels:   {clip name: class name} or a file of labels (``vtcd_jax.data.listing.labels``); without it,
              a folder called like a class labels its clips.
    classes:  the class names; the model's own if None.
    skip_bad: leave out clips that cannot be used, with a warning (SkippedClips) that has their names and reasons.
    on_clip:  called with (clips read, clips in all) after each, for a progress bar.

    Returns Clips with uint8 RGB at the model's size, all in memory (``vtcd_jax.data.sources.open_clips`` decodes on
    demand). ``masks["target"]`` is there if every clip has a mask for every frame that was sampled. Warns
    (InputWarning) about what was left out or changed. Raises InputError that names every clip that cannot be used.
    """
    sampling = sampling or Sampling()
    p = preprocessing_of(model)
    listing = list_clips(paths, images=p.num_frames == 1)
    numbers = labels_of(listing.sources, model, labels, classes)
    video = np.empty((len(listing.sources), p.num_frames, p.height, p.width, 3), np.uint8)
    masks: list[np.ndarray] = []
    kept: list[int] = []
    decode = decoder(listing, sampling, p)
    for number, clip in decode_all(listing, decode, skip_bad=skip_bad, on_clip=on_clip):
        video[len(kept)] = clip.video
        masks += [clip.masks["target"]] if clip.masks else []
        kept.append(number)
    return Clips.make(
        video[: len(kept)],
        [listing.sources[number].name for number in kept],
        labels=np.array(numbers, np.int32)[kept],
        masks={"target": np.stack(masks)} if len(masks) == len(kept) else {},
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
        return Decoded(video, remarks=tuple(remarks))
    clip = sample_frames(source.frames, sampling, num_frames=frames, stride=stride, convert=convert)
    if source.masks is None:
        return Decoded(clip)
    mask = sample_masks(
        source.frames, source.masks, sampling, num_frames=frames, stride=stride, height=height, width=width
    )
    return Decoded(clip, {} if mask is None else {"target": mask})


def decoder(listing: Listing, sampling: Sampling, preprocessing: Preprocessing) -> Callable[[int], Decoded]:
    """Decodes the clip of a number in the listing."""
    return lambda number: read_source(listing.sources[number], sampling, preprocessing)


def decode_all(
    listing: Listing,
    decode: Callable[[int], Decoded],
    *,
    skip_bad: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[int, Decoded]]:
    """(number, clip) of each clip that can be used, in turn.

    After the last one warns of what was remarked on, and of what was left out where ``skip_bad``; else raises
    InputError that names all clips that cannot be used.
    """
    problems, kept = dict(listing.problems), 0
    remarked: dict[str, list[str]] = {}
    for number, source in enumerate(listing.sources):
        try:
            clip = decode(number)
        except InputError as error:
            problems[source.name] = str(error)
        else:
            kept += 1
            for remark in clip.remarks:
                remarked.setdefault(remark, []).append(source.name)
            yield number, clip
        if on_clip:
            on_clip(number + 1, len(listing.sources))
    refuse(problems, kept, skip_bad)
    for remark, names in remarked.items():
        warn(InputWarning(f"{len(names)} clips are {remark}: {some(names)}"))


def labels_of(
    sources: Sequence[Source], model: Model | Preprocessing, labels: Labels | None, classes: Sequence[str] | None
) -> list[int]:
    """The class of each clip, -1 where unknown; ``classes`` None takes the model's own."""
    classes = tuple(getattr(model, "labels", ()) if classes is None else classes)
    if isinstance(labels, (str, os.PathLike)):
        return class_indices(sources, classes, read_labels(Path(labels)), str(labels))
    return class_indices(sources, classes, labels)


def refuse(problems: Mapping[str, str], kept: int, skip_bad: bool) -> None:
    """Warns of the clips that cannot be used where they may be skipped and others are left; else InputError."""
    if not problems:
        return
    if skip_bad and kept:
        warn(SkippedClips(problems, len(problems) + kept))
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
