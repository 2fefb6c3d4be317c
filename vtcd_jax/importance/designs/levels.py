"""Hadamard designs for a hierarchy of concepts: at each level the nodes of one cut through the trees are removed.

    height   0 for a leaf, else 1 + that of the highest part
    cut j    the nodes of height at most j that are part of none of height at most j: each leaf lies in exactly one
    level j  Hadamard blocks whose players are the nodes of cut j; a player's gate is that of its leaves

A node is measured at the levels whose cut has it, as one player: its importance is not assumed to be the sum of its
parts'. One block of every level, one after the other, is a *cycle*; with fewer masks than a cycle each level has its
share of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from vtcd_jax.base.random import Seed, as_key

from .hadamard import Hadamard
from .random import check_masks


class Level(NamedTuple):
    """A level of a clip: its design, bool [concept] the concepts that it draws for (leaves), and the first row and the
    number of rows of its part of a cycle."""

    design: Hadamard
    leaves: np.ndarray
    first: int
    rows: int


@dataclass(frozen=True, eq=False)
class Levels:
    """masks: largest number of rows per clip.  parent: int [concept], as in ``Concepts``."""

    key: Seed
    masks: int
    parent: np.ndarray
    paired, ratio = True, 0.5

    def __post_init__(self) -> None:
        check_masks(self.masks)

    @property
    def concepts(self) -> int:
        return len(self.parent)

    @cached_property
    def cuts(self) -> Int[np.ndarray, "level concept"]:
        """The node of each level's cut that a concept belongs to; its own number for nodes above the cut."""
        height = np.zeros(self.concepts, int)
        for concept in np.arange(self.concepts):  # a part has a lower number than what it is a part of
            above = self.parent[concept]
            if above >= 0:
                height[above] = max(height[above], height[concept] + 1)
        cuts = []
        for level in range(height.max() + 1):
            node = np.arange(self.concepts)
            while True:
                above = self.parent[node]
                step = np.where((above >= 0) & (height[above] <= level), above, node)
                if np.array_equal(step, node):
                    break
                node = step
            cuts.append(node)
        return np.stack(cuts)

    @cached_property
    def leaf(self) -> np.ndarray:
        """bool [concept]."""
        return ~np.isin(np.arange(self.concepts), self.parent)

    def levels(self, present: np.ndarray) -> list[Level]:
        """The levels of a clip with these concepts."""
        leaves, root = present & self.leaf, as_key(self.key)
        whole = [Hadamard(root, self.masks, groups=cut).block_rows(leaves) for cut in self.cuts]
        cycles = self.masks // sum(whole)
        rows = whole if cycles else [max(self.masks * size // sum(whole) // 2 * 2, 2) for size in whole]
        first = np.cumsum([0, *rows])
        return [
            Level(
                Hadamard(jax.random.fold_in(root, level), max(cycles, 1) * size, groups=cut), leaves, int(start), size
            )
            for level, (cut, size, start) in enumerate(zip(self.cuts, rows, first, strict=False))
        ]

    def players(self, number: int, level: Level) -> tuple[np.ndarray, np.ndarray]:
        """int [player] each: the nodes that a clip's level removes, and a leaf of each."""
        nodes, leaf = np.unique(np.where(level.leaves, self.cuts[number], -1), return_index=True)
        return nodes[nodes >= 0], leaf[nodes >= 0]

    def cycle(self, present: np.ndarray) -> int:
        """Rows of a cycle of a clip."""
        last = self.levels(present)[-1]
        return last.first + last.rows

    def count(self, present: np.ndarray) -> int:
        cycle = self.cycle(present)
        return max(self.masks // cycle, 1) * cycle if cycle <= self.masks else self.masks // 2 * 2

    def rows_of(self, level: Level, present: np.ndarray) -> Int[np.ndarray, "row"]:
        """The rows of a clip that belong to a level, in the order of its own design."""
        cycle, count = self.cycle(present), self.count(present)
        rows = np.arange(0, count, cycle)[:, None] + level.first + np.arange(level.rows)
        return rows[rows < count]

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        gates = np.ones((stop - start, self.concepts), np.float32)
        for level in self.levels(present):
            own = self.rows_of(level, present)
            chosen = np.flatnonzero((own >= start) & (own < stop))
            if len(chosen):
                first, last = int(chosen[0]), int(chosen[-1]) + 1
                gates[own[first:last] - start] = level.design.rows(clip_hash, first, last, level.leaves)
        return gates
