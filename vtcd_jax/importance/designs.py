"""Designs: which concepts are removed in which masked pass.

A design gives, for one clip and a range of mask indices, the gates [mask, concept] (1 kept, 0 removed). Each row is a
function of (key, content hash of the clip, mask index, present concepts) alone, so adding a clip, chunking, sharding or
interrupting a run changes no draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.models import InputError


@runtime_checkable
class Design(Protocol):
    """``rows(clip_hash, start, stop, present)`` -> float32 gates [stop - start, concept]; ``masks`` rows per clip."""

    @property
    def masks(self) -> int: ...

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Random:
    """The paper's design: in every mask a fixed share of the concepts, drawn without replacement, is removed.

    key:     seed of the draws.  masks: rows per clip.  ratio: share removed, ``int(players * ratio)``.
    players: "present" draws among the clip's own concepts; "all" among all of them, as the released code does.
    """

    key: jax.Array
    masks: int
    ratio: float = 0.5
    players: str = "present"

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise InputError(f"--ratio {self.ratio} must lie between 0 and 1")
        if self.masks < 2:
            raise InputError(f"--masks {self.masks} must be at least 2")
        if self.players not in ("present", "all"):
            raise ValueError(f"players {self.players!r}; known: 'present', 'all'")

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        players = present if self.players == "present" else np.ones_like(present)
        clip_key = jax.random.fold_in(self.key, int(clip_hash[:8], 16))
        removed = int(players.sum() * self.ratio)
        return np.asarray(_random_rows(clip_key, jnp.arange(start, stop), jnp.asarray(players), removed))


@jax.jit
def _random_rows(key: jax.Array, index: jax.Array, players: jax.Array, removed: jax.Array | int) -> jax.Array:
    def row(i: jax.Array) -> jax.Array:
        draw = jnp.where(players, jax.random.uniform(jax.random.fold_in(key, i), players.shape), 2.0)
        rank = jnp.argsort(jnp.argsort(draw))
        return jnp.where(rank < removed, 0.0, 1.0)

    return jax.vmap(row)(index)


@dataclass(frozen=True)
class Explicit:
    """Given gates, the same for every clip: float [mask, concept] in [0, 1]."""

    gates: np.ndarray

    @property
    def masks(self) -> int:
        return len(self.gates)

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        return np.asarray(self.gates[start:stop], np.float32)


def leave_one_out(concepts: int) -> Explicit:
    """Occlusion: row i removes concept i alone; the last row removes none."""
    return Explicit(np.concatenate([1 - np.eye(concepts, dtype=np.float32), np.ones((1, concepts), np.float32)]))


def removal_order(order: np.ndarray, counts: np.ndarray) -> Explicit:
    """Row s removes the first ``counts[s]`` concepts of ``order``."""
    rank = np.argsort(order)
    return Explicit((rank[None, :] >= np.asarray(counts)[:, None]).astype(np.float32))
