"""Clips that are decoded when they are asked for, so that any number of them fits into memory.

A ``ClipSource`` knows names, labels and content hashes of its clips and reads the pixels of some rows. ``Clips`` is
one that holds its pixels; ``FileClips`` keeps paths. Hashes need pixels: ``open_clips`` decodes each clip once and
keeps its hash alone, and ``read`` decodes again, so that nothing is written beside the clips and a file that changed
is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vtcd_jax.data.clips import Clips, content_hash
from vtcd_jax.data.read import Labels, Paths, Remarks, decode_all, labels_of, preprocessing_of, read_source, refuse
from vtcd_jax.data.sampling import Sampling
from vtcd_jax.models import InputError, Model, Preprocessing

from .listing.layout import list_clips
from .listing.search import Source


class ClipSource(Protocol):
    """Clips of one size and length, in a fixed order.

    names, hashes: one of each per clip, as in ``Clips``.  labels: int32 [video], -1 where unknown.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def hashes(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> np.ndarray: ...

    def __len__(self) -> int: ...

    def __getitem__(self, indices: slice | int | Sequence[int] | np.ndarray, /) -> ClipSource:
        """The chosen clips as a source; decodes nothing."""
        ...

    def read(self, rows: Sequence[int] | np.ndarray) -> Clips:
        """The pixels of the rows, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class FileClips:
    """Clips in files; made by ``open_clips``.

    names, hashes, labels: as in ``Clips``.
    sources:       where each clip lies.
    sampling, preprocessing: how its frames become a clip.
    masked:        whether every clip has a mask for every frame that is sampled.
    """

    names: tuple[str, ...]
    hashes: tuple[str, ...]
    labels: np.ndarray
    sources: tuple[Source, ...]
    sampling: Sampling
    preprocessing: Preprocessing
    masked: bool

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, indices: slice | int | Sequence[int] | np.ndarray) -> FileClips:
        rows = np.atleast_1d(np.arange(len(self))[indices])
        names, hashes, sources = (tuple(values[i] for i in rows) for values in (self.names, self.hashes, self.sources))
        return replace(self, names=names, hashes=hashes, sources=sources, labels=self.labels[rows])

    def read(self, rows: Sequence[int] | np.ndarray) -> Clips:
        """The pixels of the rows. Raises InputError where a file can no longer be read or is not what it was."""
        chosen, p = self[rows], self.preprocessing
        video = np.empty((len(chosen), p.num_frames, p.height, p.width, 3), np.uint8)
        masks = []
        for i, source in enumerate(chosen.sources):
            decoded = read_source(source, self.sampling, p)
            if content_hash(decoded.video) != chosen.hashes[i]:
                raise InputError(f"{source.path}: has changed since the clips were listed; start again")
            video[i] = decoded.video
            masks.append(decoded.mask)
        known = {"target": np.stack(masks)} if self.masked and masks else {}
        return Clips(video, chosen.names, chosen.hashes, chosen.labels, known)


def open_clips(
    paths: Paths,
    model: Model | Preprocessing,
    *,
    sampling: Sampling | None = None,
    labels: Labels | None = None,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> FileClips:
    """``read_clips`` that keeps no pixels: arguments, warnings, order and errors are the same."""
    sampling, p = sampling or Sampling(), preprocessing_of(model)
    found = list_clips(paths, images=p.num_frames == 1)
    numbers = labels_of(found.sources, model, labels, classes)
    hashes, kept, masked = [], [], True
    problems, remarks = dict(found.problems), Remarks()
    for i, (source, decoded) in enumerate(decode_all(found.sources, sampling, p)):
        if isinstance(decoded, InputError):
            problems[source.name] = str(decoded)
        else:
            hashes.append(content_hash(decoded.video))
            kept.append(i)
            masked = masked and decoded.mask is not None
            remarks.add(source, decoded)
        if on_clip:
            on_clip(i + 1, len(found.sources))
    refuse(problems, kept, skip_bad)
    remarks.warn()
    sources = tuple(found.sources[i] for i in kept)
    names = tuple(source.name for source in sources)
    chosen = np.array(numbers, np.int32)[kept]
    return FileClips(names, tuple(hashes), chosen, sources, sampling, p, masked)
