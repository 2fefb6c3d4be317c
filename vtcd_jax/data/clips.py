"""Clips on the host: pixels, names, content hashes, labels and, where known, true masks.

``Clips`` holds the pixels of all its clips. What works on clips takes any ``ClipSource``, which may decode them when
they are read (``vtcd_jax.data.sources``), and reads a few at a time.

Axes: ``video`` counts clips, ``time`` frames; pixels are ``uint8`` RGB at the size that the model takes, not yet
normalised. The hash of a clip names it in all that is kept, and seeds every random draw about it, so that neither the
order of the clips nor the company they keep changes a result.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.showing import few


def content_hash(clip: np.ndarray) -> str:
    """SHA-256 (hex) of one clip's shape and pixels; equal pixels give equal hashes wherever they lie."""
    digest = hashlib.sha256(f"{clip.dtype.str}{clip.shape}".encode())
    digest.update(np.ascontiguousarray(clip).data)
    return digest.hexdigest()


def query_hash(pixels: str, query: np.ndarray) -> str:
    """SHA-256 (hex) of a clip's pixel hash and its query mask, as a network sees both."""
    seen = np.ascontiguousarray(query, np.float32)
    return hashlib.sha256(f"{pixels}{seen.shape}".encode() + seen.tobytes()).hexdigest()


@runtime_checkable
class ClipSource(Protocol):
    """Clips of one size and length, in a fixed order. Only ``read`` needs their pixels.

    names, hashes, pixel_hashes: one of each per clip, as in ``Clips``.  labels: int32 [video], -1 where unknown.
    mask_names:  names of the true masks that every clip has.
    query_sizes: int64 [video], the voxels that each clip's query mask marks; None where clips have no query masks.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def hashes(self) -> tuple[str, ...]: ...

    @property
    def pixel_hashes(self) -> tuple[str, ...]: ...

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def mask_names(self) -> tuple[str, ...]: ...

    @property
    def query_sizes(self) -> np.ndarray | None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, indices: slice | int | Sequence[int] | np.ndarray, /) -> ClipSource:
        """The chosen clips as a source; decodes nothing."""
        ...

    def read(self, rows: Sequence[int] | np.ndarray) -> Clips:
        """The pixels, masks and query masks of the rows, in their order."""
        ...

    def with_queries(self, first: np.ndarray | None) -> ClipSource:
        """The clips with query masks that mark ``first``, bool [video, height, width], in frame 0 and nothing after it;
        None takes their query masks away."""
        ...


AnyClips = TypeVar("AnyClips", bound=ClipSource)


@dataclass(frozen=True, eq=False)
class Clips:
    """A set of clips of one size and length.

    video:   uint8 [video, time, height, width, 3], RGB
    names:   one unique name per clip: a path below the folder that was read, or a world id
    pixel_hashes: sha256 (hex) of each clip's pixels
    labels:  int32 [video], index into the model's labels, -1 where unknown
    masks:   true masks by name ("target", "target_whole", "occluder", "container"), each bool
             [video, time, height, width]; empty where unknown
    query:   optional float or bool [video, time, height, width], the query mask of tracking models

    Build one with ``Clips.make``, which checks the shapes and computes the hashes.
    """

    video: np.ndarray
    names: tuple[str, ...]
    pixel_hashes: tuple[str, ...]
    labels: np.ndarray
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    query: np.ndarray | None = None

    @classmethod
    def make(
        cls,
        video: np.ndarray,
        names: Sequence[str],
        labels: np.ndarray | Sequence[int] | None = None,
        masks: Mapping[str, np.ndarray] | None = None,
        query: np.ndarray | None = None,
    ) -> Clips:
        """Clips from arrays.

        Raises InputError where the pixels are not uint8 [video, time, height, width, 3], names repeat, or
        another array does not fit the pixels.
        """
        video = np.ascontiguousarray(video)
        if video.dtype != np.uint8 or video.ndim != 5 or video.shape[-1] != 3:
            raise InputError(
                f"clips must be uint8 [video, time, height, width, 3], got {video.dtype} {list(video.shape)}"
            )
        names = tuple(str(name) for name in names)
        if len(names) != len(video):
            raise InputError(f"{len(video)} clips but {len(names)} names")
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        if repeated:
            raise InputError(f"two clips share a name: {', '.join(repeated)}; give each its own")
        numbers = np.full(len(video), -1) if labels is None else np.asarray(labels)
        if numbers.shape != (len(video),):
            raise InputError(f"{len(video)} clips but labels of shape {list(numbers.shape)}")
        masks = {name: np.asarray(mask).astype(bool) for name, mask in (masks or {}).items()}
        for name, mask in [*masks.items(), *([("query", query)] if query is not None else [])]:
            if mask.shape != video.shape[:4]:
                raise InputError(f"mask {name!r} is {list(mask.shape)}, its clips are {list(video.shape[:4])}")
        hashes = tuple(content_hash(clip) for clip in video)
        return cls(video, names, hashes, numbers.astype(np.int32), masks, query)

    def __repr__(self) -> str:
        time, height, width = self.video.shape[1:4]
        masks = f", true masks {', '.join(self.masks)}" if self.masks else ""
        query = ", query masks" if self.query is not None else ""
        return f"<{len(self)} clips of {time} × {height} × {width}: {few(self.names)}{masks}{query}>"

    @property
    def hashes(self) -> tuple[str, ...]:
        """sha256 (hex) of all that a network sees of each clip: the pixels, and the query mask where there is one."""
        return self._hashes

    @cached_property
    def _hashes(self) -> tuple[str, ...]:
        if self.query is None:
            return self.pixel_hashes
        return tuple(query_hash(h, q) for h, q in zip(self.pixel_hashes, self.query, strict=True))

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Names of the true masks."""
        return tuple(self.masks)

    @property
    def query_sizes(self) -> np.ndarray | None:
        """int64 [video], the voxels that each query mask marks; None without query masks."""
        return None if self.query is None else np.array([np.count_nonzero(one) for one in self.query], np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, indices: slice | int | Sequence[int] | np.ndarray) -> Clips:
        """The chosen clips, as ``Clips`` also for one index; hashes are kept, not computed again."""
        rows = np.atleast_1d(np.arange(len(self))[indices])
        return Clips(
            video=self.video[rows],
            names=tuple(self.names[i] for i in rows),
            pixel_hashes=tuple(self.pixel_hashes[i] for i in rows),
            labels=self.labels[rows],
            masks={name: mask[rows] for name, mask in self.masks.items()},
            query=None if self.query is None else self.query[rows],
        )

    def read(self, rows: Sequence[int] | np.ndarray) -> Clips:
        """The clips of some rows, which may repeat."""
        return self[rows]

    def with_queries(self, first: np.ndarray | None) -> Clips:
        """As ``ClipSource.with_queries``."""
        return replace(self, query=None if first is None else first_frame_queries(first, self.video.shape[1]))


def first_frame_queries(first: np.ndarray, frames: int) -> np.ndarray:
    """bool [video, time, height, width]: ``first`` [video, height, width] in frame 0, nothing after it."""
    query = np.zeros((len(first), frames, *first.shape[1:]), bool)
    query[:, 0] = first
    return query
