"""Clips that are decoded when they are read, so that any number of them fits into memory.

``LazyClips`` knows names, labels and content hashes of its clips and how to make the pixels of each. Hashes need the
pixels: ``open_clips`` decodes each clip once and keeps its hash; ``read`` decodes again and compares. So nothing is
written beside the clips, and a file that changed is noticed. The clips that were read last stay in memory, up to
``KEPT`` bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.models import Model, Preprocessing

from .clips import Clips, first_frame_queries, query_hash
from .listing.layout import list_clips
from .read import Decoded, Labels, Paths, decode_all, decoder, labels_of, preprocessing_of
from .sampling import Sampling

KEPT = 1 << 28  # bytes of the clips that were read last


Decode = Callable[[int], Decoded]
"""Makes the clip that has a number. Raises InputError where it cannot be made any more."""


@dataclass(frozen=True, eq=False)
class LazyClips:
    """A ``ClipSource`` that decodes on demand.

    names, pixel_hashes, labels: as in ``Clips``.
    shape:      (time, height, width) of a clip.
    mask_names: the true masks that every clip has.
    numbers:    int [video], what ``decode`` calls each clip.
    decode:     makes a clip; may be called by several threads at once.
    queries:    uint8 [video, byte], bits of frame 0 of each query mask (``np.packbits``); None without query masks.
    """

    names: tuple[str, ...]
    pixel_hashes: tuple[str, ...]
    labels: np.ndarray
    shape: tuple[int, int, int]
    mask_names: tuple[str, ...]
    numbers: np.ndarray
    decode: Decode
    queries: np.ndarray | None = None

    @property
    def hashes(self) -> tuple[str, ...]:
        """As ``Clips.hashes``."""
        return self._hashes

    @cached_property
    def _hashes(self) -> tuple[str, ...]:
        if self.queries is None:
            return self.pixel_hashes
        return tuple(query_hash(own, self._query([i])[0]) for i, own in enumerate(self.pixel_hashes))

    @property
    def query_sizes(self) -> np.ndarray | None:
        """int64 [video], the voxels that each query mask marks; None without query masks."""
        return None if self.queries is None else np.bitwise_count(self.queries).sum(1, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, indices: slice | int | Sequence[int] | np.ndarray) -> LazyClips:
        """The chosen clips, as ``LazyClips`` also for one index; decodes nothing."""
        rows = np.atleast_1d(np.arange(len(self))[indices])
        names, hashes = (tuple(values[i] for i in rows) for values in (self.names, self.pixel_hashes))
        chosen = replace(self, names=names, pixel_hashes=hashes, labels=self.labels[rows], numbers=self.numbers[rows])
        return chosen if self.queries is None else replace(chosen, queries=self.queries[rows])

    def read(self, rows: Sequence[int] | np.ndarray) -> Clips:
        """The clips of some rows. Raises InputError where one can no longer be read or is not what it was."""
        chosen = self[rows]
        video = np.empty((len(chosen), *self.shape, 3), np.uint8)
        masks = {name: np.empty((len(chosen), *self.shape), bool) for name in self.mask_names}
        for i, name in enumerate(chosen.names):
            one = self.decode(int(chosen.numbers[i]))
            if one.pixel_hash != chosen.pixel_hashes[i] or not set(masks) <= set(one.masks):
                raise InputError(f"{name}: has changed since the clips were listed; start again")
            video[i] = one.video
            for kind, mask in masks.items():
                mask[i] = one.masks[kind]
        query = None if self.queries is None else chosen._query(list(range(len(chosen))))
        return Clips(video, chosen.names, chosen.pixel_hashes, chosen.labels, masks, query)

    def with_queries(self, first: np.ndarray | None) -> LazyClips:
        """As ``ClipSource.with_queries``."""
        packed = None if first is None else np.packbits(np.asarray(first, bool).reshape(len(first), -1), axis=1)
        return replace(self, queries=packed)

    def _query(self, rows: Sequence[int]) -> np.ndarray:
        """bool [row, time, height, width]."""
        assert self.queries is not None
        frames, height, width = self.shape
        first = np.unpackbits(self.queries[list(rows)], axis=1, count=height * width).astype(bool)
        return first_frame_queries(first.reshape(-1, height, width), frames)


def keeping_last(decode: Decode, shape: tuple[int, int, int], masks: int = 0) -> Decode:
    """``decode`` that keeps the clips it gave last, up to ``KEPT`` bytes; at least one.

    shape: (time, height, width) of a clip.  masks: how many true masks each has.
    """
    size = int(np.prod(shape)) * (3 + masks)
    return functools.lru_cache(max(1, KEPT // size))(decode)


def open_clips(
    paths: Paths,
    model: Model | Preprocessing,
    *,
    sampling: Sampling | None = None,
    labels: Labels | None = None,
    classes: Sequence[str] | None = None,
    skip_bad: bool = False,
    on_clip: Callable[[int, int], None] | None = None,
) -> LazyClips:
    """``read_clips`` that keeps no pixels: arguments, warnings, order and errors are the same."""
    sampling, p = sampling or Sampling(), preprocessing_of(model)
    listing = list_clips(paths, images=p.num_frames == 1)
    numbers = labels_of(listing.sources, model, labels, classes)
    shape = (p.num_frames, p.height, p.width)
    decode = keeping_last(decoder(listing, sampling, p), shape, masks=1)
    hashes, kept, masked = [], [], True
    for number, clip in decode_all(listing, decode, skip_bad=skip_bad, on_clip=on_clip):
        hashes.append(clip.pixel_hash)
        kept.append(number)
        masked = masked and bool(clip.masks)
    return LazyClips(
        names=tuple(listing.sources[number].name for number in kept),
        pixel_hashes=tuple(hashes),
        labels=np.array(numbers, np.int32)[kept],
        shape=shape,
        mask_names=("target",) if masked else (),
        numbers=np.array(kept, int),
        decode=decode,
    )
