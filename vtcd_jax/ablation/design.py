"""Designs: which concepts are removed in which masked pass.

A design gives, for one clip and a range of mask indices, the gates [mask, concept] (1 kept, 0 removed). Each row
depends only on (seed, hash of the clip, mask index, present concepts), so adding a clip, chunking, sharding or
interrupting a run changes no draw. ``Explicit`` is a design of given gates; random designs are in ``importance``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Design(Protocol):
    """A design.

    masks:                                  largest number of rows of a clip.
    paired:                                 whether rows 2k and 2k + 1 are complements of each other.
    ratio:                                  fraction of the removable concepts that is removed.
    count(present):                         rows of a clip with these concepts.
    rows(clip_hash, start, stop, present):  float32 gates [stop - start, concept].
    """

    @property
    def masks(self) -> int: ...

    @property
    def paired(self) -> bool: ...

    @property
    def ratio(self) -> float: ...

    def count(self, present: np.ndarray) -> int: ...

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Explicit:
    """Given gates, the same for every clip: float [mask, concept] in [0, 1]."""

    gates: np.ndarray
    paired, ratio = False, 0.0

    @property
    def masks(self) -> int:
        return len(self.gates)

    def count(self, present: np.ndarray) -> int:
        return len(self.gates)

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        return np.asarray(self.gates[start:stop], np.float32)


def nothing_removed(concepts: int) -> Explicit:
    """One row that keeps everything."""
    return Explicit(np.ones((1, concepts), np.float32))


def removal_order(order: np.ndarray, counts: np.ndarray, concepts: int | None = None) -> Explicit:
    """Row s removes the first ``counts[s]`` concepts of ``order``. concepts: the total, if ``order`` has fewer."""
    position = np.full(len(order) if concepts is None else concepts, len(order))
    position[order] = np.arange(len(order))
    kept = position[None, :] >= np.asarray(counts)[:, None]
    return Explicit(kept.astype(np.float32))
