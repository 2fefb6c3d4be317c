"""The order of a finite set of clips: a permutation for each epoch, from the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vtcd_jax.base.errors import InputError

from .task import Batch

Example = Mapping[str, np.ndarray]


def steps_per_epoch(count: int, batch: int, drop_last: bool = True) -> int:
    """Steps of one epoch of ``count`` clips. Raises InputError for less than one batch."""
    steps = count // batch if drop_last else -(-count // batch)
    if steps < 1:
        raise InputError(f"{count} clips give no whole batch of {batch}; take a smaller batch")
    return steps


def epoch_indices(count: int, seed: int, step: int, batch: int, drop_last: bool = True) -> tuple[int, np.ndarray]:
    """(epoch from 0, indices of the step's clips).

    Every epoch has another permutation, a function of (seed, epoch).
    drop_last: clips of an incomplete last batch are left out of the epoch (different ones each time); else that batch
               is smaller.
    """
    epoch, position = divmod(step, steps_per_epoch(count, batch, drop_last))
    return epoch, _permutation(count, seed, epoch)[position * batch : (position + 1) * batch]


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


@dataclass(frozen=True)
class Epochs:
    """A task's ``batch`` over a finite set of examples: (seed, step, size) -> Batch.

    count:     examples in the set.
    load:      (index, rng) -> {name: array} of one example, with its augmentations. ``rng`` is a function of (seed,
               epoch, index), so that results do not depend on the worker that loads a clip.
    drop_last: as in ``epoch_indices``.
    """

    count: int
    load: Callable[[int, np.random.Generator], Example]
    drop_last: bool = True

    def __call__(self, seed: int, step: int, size: int) -> Batch:
        epoch, indices = epoch_indices(self.count, seed, step, size, self.drop_last)
        examples = [self.load(int(i), np.random.default_rng((seed, epoch, int(i)))) for i in indices]
        return Batch({name: np.stack([example[name] for example in examples]) for name in examples[0]})
