"""Hadamard designs: blocks of masks in which all concepts are balanced against each other.

    N       order of the Hadamard matrix, at least n + 1 + SPARE for n players
    X       [N, N - 1] of 1 (kept) and -1 (removed): the matrix without its constant column, rows and columns in random
            order, each column with a random sign
    fold    every row followed by its complement: 2N masks a block

In a whole block the mean of ``y X_i`` contains the main effect of concept i. The main effects of all other concepts
cancel exactly, and in a folded block so does every interaction of an even number of concepts. Interactions of three or
more concepts in the same column as i remain; the unassigned columns show how large they are. With fewer masks than a
block its first rows are used: then nothing cancels exactly, which is good enough for screening.

Plackett & Burman (1946), "The design of optimum multifactorial experiments", Biometrika 33.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vtcd_jax.base.random import Seed, generator, key_bytes

from .hadamard_matrices import hadamard, order_for
from .random import check_masks

SPARE = 4  # smallest number of unassigned columns


@dataclass(frozen=True)
class Signs:
    """One block. matrix: int8 [row, column], 1 or -1; the first ``players`` columns are those of the players in order,
    the others are unassigned."""

    matrix: np.ndarray
    players: int


@dataclass(frozen=True, eq=False)
class Hadamard:
    """Blocks of a randomised Hadamard matrix over the present concepts.

    masks:  largest number of rows per clip; a clip gets as many whole blocks as fit, or the first rows of one.
    folded: whether each row is followed by its complement.
    groups: int [concept], group of each concept; a group is removed as one player. None: each concept is a player.
    """

    key: Seed
    masks: int
    folded: bool = True
    groups: np.ndarray | None = None
    ratio = 0.5

    def __post_init__(self) -> None:
        check_masks(self.masks)

    @property
    def paired(self) -> bool:
        return self.folded

    def players(self, present: np.ndarray) -> np.ndarray:
        """int [concept]: the player of each concept, -1 for a concept that the clip does not have."""
        groups = np.arange(len(present)) if self.groups is None else np.asarray(self.groups)
        numbers = np.full(len(present), -1)
        numbers[present] = np.unique(groups[present], return_inverse=True)[1]
        return numbers

    def representatives(self, present: np.ndarray) -> np.ndarray:
        """int [player]: the first concept of each player."""
        numbers, first = np.unique(self.players(present), return_index=True)
        return first[numbers >= 0]

    def order(self, present: np.ndarray) -> int:
        """N of a clip with these concepts."""
        return order_for(int(self.players(present).max(initial=-1)) + 1 + SPARE)

    def block_rows(self, present: np.ndarray) -> int:
        """Masks of a whole block."""
        return self.order(present) * (2 if self.folded else 1)

    def blocks(self, present: np.ndarray) -> int:
        """Whole blocks of a clip; 0 with too few masks for one."""
        return self.masks // self.block_rows(present)

    def count(self, present: np.ndarray) -> int:
        whole = self.blocks(present)
        return whole * self.block_rows(present) if whole else self.masks // 2 * 2 if self.folded else self.masks

    def signs(self, clip_hash: str, block: int, players: int) -> Signs:
        """The block's matrix for ``players``; row k is mask 2k of the block where it is folded, else mask k."""
        return Signs(_signs(self._key, clip_hash, block, order_for(players + SPARE)), players)

    @cached_property
    def _key(self) -> bytes:
        return key_bytes(self.key)

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        size, players = self.block_rows(present), self.players(present)
        gates = np.ones((stop - start, len(present)), np.float32)
        for block in range(start // size, -(-stop // size)):
            signs = self.signs(clip_hash, block, int(players.max(initial=-1)) + 1)
            kept = signs.matrix[:, : signs.players] > 0
            if self.folded:
                kept = np.stack([kept, ~kept], axis=1).reshape(size, -1)
            first, last = max(start, block * size), min(stop, (block + 1) * size)
            rows = kept[first - block * size : last - block * size]
            gates[first - start : last - start, players >= 0] = rows[:, players[players >= 0]]
        return gates


@lru_cache(maxsize=8)
def _signs(key: bytes, clip_hash: str, block: int, order: int) -> np.ndarray:
    draws = generator(key, clip_hash, block)
    columns = 1 + draws.permutation(order - 1)
    flips = draws.choice(np.array([-1, 1], np.int8), order - 1)
    matrix = hadamard(order)[draws.permutation(order)][:, columns] * flips
    matrix.setflags(write=False)
    return matrix
