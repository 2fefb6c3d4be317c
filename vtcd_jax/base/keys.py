"""Seeds as people give them: a key of ``jax.random``, or a whole number."""

from __future__ import annotations

import operator
from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.base.errors import InputError

Seed = jax.Array | np.ndarray | SupportsIndex
"""A key of ``jax.random``, or the whole number that ``jax.random.key`` makes one of."""


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
