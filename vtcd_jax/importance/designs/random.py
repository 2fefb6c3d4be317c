"""Random designs: which concepts are removed in which masked pass.

A design gives, for one clip and a range of mask indices, the gates [mask, concept] (1 kept, 0 removed). Each row
depends only on (key, content hash of the clip, mask index, present concepts), so adding a clip, chunking, sharding or
interrupting a run changes no draw.

    random            a fraction of the concepts is removed in every mask: in the mean, or exactly as in the paper
    bernoulli         each concept is removed independently with the same probability
    paired            a fair coin for every concept, each mask followed by its complement
    hadamard          blocks of rows in which every two concepts are balanced against each other
    folded-hadamard   the same, each row followed by its complement            (``hadamard``)
    heads             folded-hadamard over heads: all concepts of a head are removed together
    leave-one-out     one present concept at a time: occlusion
    slopes, joined    random gates, also between 0 and 1, for slopes           (``slopes``)

The *players* of a clip are the concepts that a design can remove: those that the clip has. The gates of all others stay
1. Only ``Random(players="all")`` removes absent concepts too, as the paper's and the released estimator require.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vtcd_jax.base.random import Seed, generator, key_bytes
from vtcd_jax.models import InputError


def check_masks(masks: int) -> None:
    if masks < 2:
        raise InputError(f"--masks {masks} must be at least 2")


def check_ratio(ratio: float) -> None:
    if not 0 < ratio < 1:
        raise InputError(f"--ratio {ratio} must lie between 0 and 1")


@dataclass(frozen=True)
class Random:
    """In every mask a fraction of the players, drawn without replacement, is removed.

    key:     seed of the draws.
    masks:   rows per clip.
    ratio:   fraction removed.
    players: "present" draws among the clip's concepts. Their number is drawn from a binomial distribution, because
             masks that all remove equally many cannot show a clip's mean effect (see ``estimators``). "all" is the
             design of the paper and of the released code: exactly ``int(concepts * ratio)`` in every mask, drawn among
             all concepts. Its rows raise InputError where that is 0.
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
        fixed = removed_count(len(players), self.ratio) if exact else 0
        gates, key = np.ones((stop - start, len(present)), np.float32), key_bytes(self.key)
        for row, index in enumerate(range(start, stop)):
            draws = generator(key, clip_hash, index)
            removed = fixed if exact else draws.binomial(len(players), self.ratio)
            gates[row, draws.permutation(players)[:removed]] = 0
        return gates


def removed_count(concepts: int, ratio: float) -> int:
    """A fixed fraction of the concepts, rounded down as in the released code. Raises InputError where that is 0."""
    removed = int(concepts * ratio)
    if removed == 0:
        remedy = f"give at least --ratio {math.ceil(1000 / concepts) / 1000:g}" if concepts > 1 else "there is only one"
        raise InputError(f"--ratio {ratio} of {concepts} concepts removes none in each mask; {remedy}")
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
    """Occlusion: row i removes the clip's i-th present concept alone. concepts: number of all concepts.

    sparse: each row removes so few concepts that passes may begin at a later block (``ablation.prefix``).
    """

    concepts: int
    paired, ratio, sparse = False, 0.0, True

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
