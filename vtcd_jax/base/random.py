"""Random numbers that are a function of (key, clip, index) alone, on the host and cheap to begin anywhere."""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from .keys import Seed, as_key


def key_bytes(key: Seed) -> bytes:
    """The data of a key of ``jax.random``, or of a seed's."""
    return np.asarray(jax.random.key_data(as_key(key))).tobytes()


def generator(key: bytes, clip_hash: str, index: int) -> np.random.Generator:
    """Draws for one index of one clip. key: see ``key_bytes``; clip_hash: hex of the clip's content."""
    seed = hashlib.sha256(key + clip_hash.encode()).digest()
    words = np.frombuffer(seed[:16], np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=[0, 0, 0, index]))
