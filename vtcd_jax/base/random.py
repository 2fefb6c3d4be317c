"""Seeds and random numbers: draws depend only on (seed, clip, index) (a counter-based generator)."""

from __future__ import annotations

import hashlib
import operator
import zlib
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from .errors import InputError

Seed = jax.Array | np.ndarray | SupportsIndex
"""A key of ``jax.random``, or a whole number for ``jax.random.key``."""


def as_key(seed: Seed) -> jax.Array:
    """The key of a seed; a key (also a raw one, uint32 [2]) stays as it is. Raises InputError for anything else."""
    if isinstance(seed, (jax.Array, np.ndarray)):
        if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key) and seed.shape == ():
            return seed  # type: ignore[return-value]  # NumPy has no such dtype
        if seed.dtype == np.uint32 and seed.shape == (2,):
            return jnp.asarray(seed)
    try:
        if isinstance(seed, (bool, np.bool_)):
            raise TypeError
        return jax.random.key(operator.index(seed))  # type: ignore[arg-type]
    except (TypeError, OverflowError):
        raise InputError(
            f"{seed!r} is no seed; give a whole number of at most 64 bits, or a key such as jax.random.key(0)"
        ) from None


def permutation(key: jax.Array, count: int) -> np.ndarray:
    """int [count]: what ``jax.random.permutation(key, count)`` gives, without a program for every count.

    Bits are drawn for the next power of two, at least 1,024: those of an index do not depend on how many are drawn.
    """
    order = np.arange(count)
    size = max(1024, 1 << max(count - 1, 0).bit_length())
    for _ in range(int(np.ceil(3 * np.log(max(1, count)) / np.log(2**32 - 1)))):
        key, own = jax.random.split(key)
        order = order[np.argsort(np.asarray(jax.random.bits(own, (size,)))[:count], kind="stable")]
    return order


def stage_key(seed: int, stage: str) -> jax.Array:
    """The key of a stage of a run."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(stage.encode()))


def key_bytes(key: Seed) -> bytes:
    """The data of a key of ``jax.random``, or of a seed's."""
    return np.asarray(jax.random.key_data(as_key(key))).tobytes()


def generator(key: bytes, clip_hash: str, index: int) -> np.random.Generator:
    """Draws for one index of one clip. key: see ``key_bytes``; clip_hash: hex of the clip's content."""
    seed = hashlib.sha256(key + clip_hash.encode()).digest()
    halves = np.frombuffer(seed[:16], np.uint64)
    return np.random.Generator(np.random.Philox(key=halves, counter=[0, 0, 0, index]))
