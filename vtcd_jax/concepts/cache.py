"""What discovery has done so far, kept as blocks of its ``Work``, so that an interrupted discovery resumes.

    segment/<key>-<site>-<head>     labels and tubelets of a head in one clip
    segment/<key>-<site>            or the tokens of a clip that were drawn (``sampling``)
    choose/<key>-<site>-<head>      its number of concepts and where they start
    factorise/<key>-<site>-<head>   its factorisation
    stability/<key>-<site>-<head>   how much of each of its concepts other fits find again
    tokens/<key>-<site>             the concepts of a clip's tokens

A key is a hash of everything that the arrays depend on beside site and head: the network's sizes and weights, the clip
(its pixels and query) or all clips, the settings, the seed. So a block never answers another question. On a CPU heads
are done, and kept, one by one on every core; an accelerator does all missing heads of a site in one call.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vtcd_jax.devices.cpu import cores, on_cpu
from vtcd_jax.runs import Work
from vtcd_jax.runs.blocks import Arrays

STAGES = ("segment", "choose", "factorise", "stability", "tokens")


def each_head(
    work: Work,
    name: str,
    heads: int,
    make: Callable[[list[int]], list[Arrays]],
    *,
    threads: int | None = None,
) -> list[Arrays]:
    """The block of every head, ``<name>-<head>``, else what ``make`` gives, which is then kept.

    make:    from numbers of heads to the arrays of each; what it gives for a head depends on no other head.
    threads: heads side by side on a CPU; None: one per core.

    Raises KeyboardInterrupt, before another head is begun, once ``work.stop()``.
    """

    def unless_stopped(which: list[int]) -> list[Arrays]:
        if work.stop():
            raise KeyboardInterrupt
        return make(which)

    if on_cpu():
        with ThreadPoolExecutor(threads or cores()) as pool:
            return list(pool.map(lambda h: work.cached(f"{name}-{h}", lambda: unless_stopped([h])[0]), range(heads)))
    blocks = [work.read(f"{name}-{h}") for h in range(heads)]
    missing = [h for h, block in enumerate(blocks) if block is None]
    for h, arrays in zip(missing, unless_stopped(missing) if missing else [], strict=True):
        work.write(f"{name}-{h}", arrays)
        blocks[h] = arrays
    return [arrays for arrays in blocks if arrays is not None]


def key_of(*parts: object) -> str:
    """A short hash (hex) of what a block depends on; ``repr`` tells the parts apart."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def site_name(site: str) -> str:
    """A site as part of a file's name."""
    return site.replace("/", ".")


def pack(labels: np.ndarray) -> np.ndarray:
    """uint8 labels, compressed (about 15 times at 16 x 112 x 112): uint8 [byte]."""
    return np.frombuffer(zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1), np.uint8)


def unpack(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The labels that ``pack`` was given."""
    return np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8).reshape(shape)
