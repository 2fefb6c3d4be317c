"""SLIC labels of all clips, sites and heads, kept compressed and unpacked one by one.

labels of a site    uint8 [video, time, height, width, head], which is what files hold
volume              uint8 [time, height, width], of one clip and head
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from .cache import pack, unpack

Grid = tuple[int, int, int]
"""Cells along time, height and width."""
Packed = tuple[tuple[np.ndarray, ...], ...]
"""Packed volumes of a site: [video][head]."""


@dataclass(frozen=True, eq=False)
class Labels:
    """grid: site -> (time, height, width) of its volumes.  packed: site -> its volumes (``cache.pack``)."""

    grid: Mapping[str, Grid] = field(default_factory=dict)
    packed: Mapping[str, Packed] = field(default_factory=dict)

    @classmethod
    def of(cls, volumes: Mapping[str, np.ndarray]) -> Labels:
        """Packs site -> uint8 [video, time, height, width, head]."""
        grid = {site: (v.shape[1], v.shape[2], v.shape[3]) for site, v in volumes.items()}
        return cls(grid, {site: tuple(pack_clip(clip) for clip in v) for site, v in volumes.items()})

    def heads(self, site: str) -> int:
        """Heads of a site; 0 without clips."""
        return len(self.packed[site][0]) if self.packed[site] else 0

    def volume(self, site: str, video: int, head: int) -> UInt8[np.ndarray, "time height width"]:
        """The labels of one clip and head."""
        return unpack(self.packed[site][video][head], self.grid[site])

    def clip(self, site: str, video: int) -> UInt8[np.ndarray, "time height width head"]:
        """The labels of one clip, all heads."""
        return np.stack([unpack(one, self.grid[site]) for one in self.packed[site][video]], -1)


def pack_clip(clip: UInt8[np.ndarray, "time height width head"]) -> tuple[np.ndarray, ...]:
    """A packed volume per head."""
    return tuple(pack(volume) for volume in np.moveaxis(clip, -1, 0))
