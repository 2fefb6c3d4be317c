"""What discovery has done so far, kept outside it, so that an interrupted discovery goes on where it stopped.

    segment/<key>-<site>-<head>     labels and tubelets of a head in one clip
    choose/<key>-<site>-<head>      its number of concepts and where they start
    factorise/<key>-<site>-<head>   its factorisation
    stability/<key>-<site>-<head>   how much of each of its concepts other fits find again

A key is a hash of everything that the arrays depend on beside site and head: the network's sizes and weights, the clip
(its pixels and query) or all clips, the settings, the seed. So a memory never answers another question.

``vtcd_jax.runs.Run`` is such a memory; so is anything with its two methods. On a CPU heads are done, and kept, one
by one on every core; an accelerator does all missing heads of a site in one call.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from vtcd_jax.devices.cpu import cores, on_cpu
from vtcd_jax.models import Model

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


def each_head(
    memory: Memory | None,
    name: str,
    heads: int,
    make: Callable[[list[int]], list[Arrays]],
    *,
    threads: int | None = None,
) -> list[Arrays]:
    """What the memory has of every head as ``<name>-<head>``, else what ``make`` gives, which is then kept.

    make:    from numbers of heads to the arrays of each; what it gives for a head depends on no other head.
    threads: heads side by side on a CPU; None: one per core.
    """
    if on_cpu():
        with ThreadPoolExecutor(threads or cores()) as pool:
            return list(pool.map(lambda h: remembered(memory, f"{name}-{h}", lambda: make([h])[0]), range(heads)))
    found = [memory.read_block(f"{name}-{h}") if memory is not None else None for h in range(heads)]
    missing = [h for h, known in enumerate(found) if known is None]
    for h, arrays in zip(missing, make(missing) if missing else [], strict=True):
        found[h] = remembered(memory, f"{name}-{h}", lambda arrays=arrays: arrays)
    return [arrays for arrays in found if arrays is not None]


def key_of(*parts: object) -> str:
    """A short hash (hex) of what a block depends on; ``repr`` tells the parts apart."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def model_hash(model: Model) -> str:
    """SHA-256 (hex) of a network's sizes, preprocessing and weights."""
    digest = hashlib.sha256(repr((model.config, model.preprocessing)).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.params):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype.name}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def site_name(site: str) -> str:
    """A site as part of a file's name."""
    return site.replace("/", ".")


def pack(labels: np.ndarray) -> np.ndarray:
    """uint8 labels, compressed about a hundredfold: uint8 [byte]."""
    return np.frombuffer(zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1), np.uint8)


def unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The labels that ``pack`` was given."""
    return np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(shape)
