"""Designs: which concepts are removed in which masked pass.

A design gives, for one clip and a range of mask indices, the gates [mask, concept] (1 kept, 0 removed). Each row is a
function of (key, content hash of the clip, mask index, present concepts) alone, so adding a clip, chunking, sharding or
interrupting a run changes no draw.

    random            a share of the concepts is removed in every mask: on the mean, or exactly as in the paper
    bernoulli         every concept is removed by its own coin
    paired            a fair coin for every concept, each mask followed by its complement
    hadamard          blocks of rows in which every two concepts are balanced against each other
    folded-hadamard   the same, each row followed by its complement            (``blocks``)
    heads             folded-hadamard over heads: the concepts of a head go together
    leave-one-out     one present concept at a time: occlusion

Concepts that a clip does not have are no players (their gates stay 1), but for ``Random(players="all")``, which the
paper's and the released estimator need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from vtcd_jax.base.random import generator, key_bytes
from vtcd_jax.models import InputError, Seed


@runtime_checkable
class Design(Protocol):
    """``masks``: the most rows of a clip.  ``count(present)``: the rows of a clip that has these concepts.
    ``rows(clip_hash, start, stop, present)`` -> float32 gates [stop - start, concept].
    ``paired``: whether rows 2k and 2k + 1 are complements of each other.  ``ratio``: share of players removed.
    """

    @property
    def masks(self) -> int: ...

    @property
    def paired(self) -> bool: ...

    @property
    def ratio(self) -> float: ...

    def count(self, present: np.ndarray) -> int: ...

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray: ...


def check_masks(masks: int) -> None:
    if masks < 2:
        raise InputError(f"--masks {masks} must be at least 2")


def check_ratio(ratio: float) -> None:
    if not 0 < ratio < 1:
        raise InputError(f"--ratio {ratio} must lie between 0 and 1")


@dataclass(frozen=True)
class Random:
    """In every mask a share of the players, drawn without replacement, is removed.

    key:     seed of the draws.  masks: rows per clip.  ratio: share removed.
    players: "present" draws among the clip's own concepts. How many is drawn too, as coins would (binomial): masks that
             all remove equally many cannot show a clip's mean effect (see ``estimators``).
             "all" is the design of the paper and of the released code: exactly ``int(concepts * ratio)`` in every
             mask, drawn among all concepts. Its rows raise InputError where that is none.
    """

    key: Seed
    masks: int
    ratio: float = 0.5
    players: str = "present"
    paired = False

    def __post_init__(self) -> None:
        check_masks(self.masks)
        check_ratio(self.ratio)
        if self.players not in ("present", "all"):
            raise ValueError(f"players {self.players!r}; known: 'present', 'all'")

    def count(self, present: np.ndarray) -> int:
        return self.masks

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        exact = self.players == "all"
        players = np.arange(len(present)) if exact else np.flatnonzero(present)
        always = share_of(len(players), self.ratio) if exact else 0
        gates, key = np.ones((stop - start, len(present)), np.float32), key_bytes(self.key)
        for row, index in enumerate(range(start, stop)):
            draws = generator(key, clip_hash, index)
            removed = always if exact else draws.binomial(len(players), self.ratio)
            gates[row, draws.permutation(players)[:removed]] = 0
        return gates


def share_of(concepts: int, ratio: float) -> int:
    """How many concepts a fixed share is, rounded down as in the released code. Raises InputError where that is 0."""
    removed = int(concepts * ratio)
    if removed == 0:
        least = f"take at least --ratio {math.ceil(1000 / concepts) / 1000:g}" if concepts > 1 else "there is but one"
        raise InputError(f"--ratio {ratio} of {concepts} concepts removes none in each mask; {least}")
    return removed


@dataclass(frozen=True)
class Bernoulli:
    """Every present concept is removed with probability ``ratio``, independently of all others."""

    key: Seed
    masks: int
    ratio: float = 0.5
    paired = False

    def __post_init__(self) -> None:
        check_masks(self.masks)
        check_ratio(self.ratio)

    def count(self, present: np.ndarray) -> int:
        return self.masks

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        key = key_bytes(self.key)
        coins = np.zeros((stop - start, len(present)))
        for row, index in enumerate(range(start, stop)):
            coins[row] = generator(key, clip_hash, index).random(len(present))
        return np.where(present & (coins < self.ratio), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Paired:
    """Fair coins; row 2k + 1 removes what row 2k keeps. An odd number of masks is rounded down."""

    key: Seed
    masks: int
    paired, ratio = True, 0.5

    def __post_init__(self) -> None:
        check_masks(self.masks)

    def count(self, present: np.ndarray) -> int:
        return self.masks // 2 * 2

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        key, pairs = key_bytes(self.key), range(start // 2, (stop + 1) // 2)
        kept = np.zeros((len(pairs), len(present)), bool)
        for row, pair in enumerate(pairs):
            kept[row] = generator(key, clip_hash, pair).random(len(present)) < 0.5
        both = np.stack([kept, ~kept], axis=1).reshape(-1, len(present)) | ~present
        return both[start % 2 :][: stop - start].astype(np.float32)


@dataclass(frozen=True)
class LeaveOneOut:
    """Occlusion: row i removes the clip's i-th present concept alone. concepts: number of all concepts."""

    concepts: int
    paired, ratio = False, 0.0

    @property
    def masks(self) -> int:
        return self.concepts

    def count(self, present: np.ndarray) -> int:
        return int(present.sum())

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        removed = np.flatnonzero(present)[start:stop]
        gates = np.ones((len(removed), len(present)), np.float32)
        gates[np.arange(len(removed)), removed] = 0
        return gates


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
    """Row s removes the first ``counts[s]`` concepts of ``order``. concepts: of all, where ``order`` has but some."""
    place = np.full(len(order) if concepts is None else concepts, len(order))
    place[order] = np.arange(len(order))
    kept = place[None, :] >= np.asarray(counts)[:, None]
    return Explicit(kept.astype(np.float32))
