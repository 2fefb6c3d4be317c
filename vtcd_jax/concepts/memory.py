"""What discovery has done so far, kept outside it, so that an interrupted discovery goes on where it stopped.

    segment/<clip>-<site>    labels and tubelets of all heads of a site in one clip
    choose/<site>            number of concepts and start of every head
    factorise/<site>         the factorisation of every head
    stability/all            how much of each concept other fits find again

``vtcd_jax.runs.Run`` is such a memory; so is anything with its two methods.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

STAGES = ("segment", "choose", "factorise", "stability")
Arrays = dict[str, np.ndarray]


@runtime_checkable
class Memory(Protocol):
    """Named groups of arrays, whole or absent."""

    def read_block(self, name: str) -> Arrays | None:
        """The arrays, or None where they are not there or damaged."""
        ...

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps them."""
        ...


def remembered(memory: Memory | None, name: str, make: Callable[[], Arrays]) -> Arrays:
    """What the memory has under a name, else what ``make`` gives, which is then kept."""
    known = memory.read_block(name) if memory is not None else None
    if known is not None:
        return known
    arrays = make()
    if memory is not None:
        memory.write_block(name, arrays)
    return arrays


def site_name(site: str) -> str:
    """A site as part of a file's name."""
    return site.replace("/", ".")


def pack(labels: np.ndarray) -> np.ndarray:
    """uint8 labels, compressed about a hundredfold: uint8 [byte]."""
    return np.frombuffer(zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1), np.uint8)


def unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The labels that ``pack`` was given."""
    return np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(shape)
