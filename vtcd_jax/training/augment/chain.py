"""Several augmentations as one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Augmentation: TypeAlias = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Chain:
    """(rng, clip) -> clip: ``parts`` one after the other. Can be pickled if they can.

    Each part has its own stream of random numbers: removing the last part, or changing options of one, does not change
    the draws of the others.
    """

    parts: tuple[Augmentation, ...]

    def __call__(self, rng: np.random.Generator, clip: np.ndarray) -> np.ndarray:
        for stream, part in zip(rng.spawn(len(self.parts)), self.parts, strict=True):
            clip = part(stream, clip)
        return clip


def chain(*parts: Augmentation) -> Chain:
    """The augmentations one after the other."""
    return Chain(parts)
