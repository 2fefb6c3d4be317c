"""An instance of version 2: what one seed gives, a network and its clips, and the right answers.

The seed draws patterns, wiring, directions of the noise and scenes. The biases of the classes make their logits 0 on
average over ``REFERENCE`` scenes that are no clips, so that the predicted classes differ. Labels of clips are the
classes that the network predicts. Clips have no masks: methods get no truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from vtcd_jax.data import Clips
from vtcd_jax.models import InputError, Model

from . import carriers, network, properties
from .outputs import class_logits
from .scene import scene
from .wiring import Wiring, wiring

FEWEST = 4
REFERENCE = 16


@dataclass(frozen=True, eq=False)
class Instance:
    """values: float64 [video, property, time, height, width], as in ``properties``."""

    seed: int
    wiring: Wiring
    patterns: carriers.Patterns
    clips: Clips
    values: Float[np.ndarray, "video property time height width"]

    def __getitem__(self, rows: slice | Sequence[int]) -> Instance:
        """The same network with some of the clips."""
        return replace(self, clips=self.clips[rows], values=self.values[rows])

    def model(self, noise: float) -> Model:
        """The network with a level of noise; only the random part of the keys depends on it."""
        return network.model(self.wiring, self.patterns, noise, np.random.default_rng([self.seed, 3]))

    def masks(self) -> dict[str, Bool[np.ndarray, "video time height width"]]:
        """The tokens that have each property."""
        return {name: self.values[:, p] >= properties.HAS for p, name in enumerate(properties.NAMES)}


def instance(seed: int, count: int) -> Instance:
    """The network of a seed and ``count`` clips. Raises InputError for too few clips."""
    if count < FEWEST:
        raise InputError(f"{count} clips: give at least {FEWEST}")
    wired = _unbiased(wiring(np.random.default_rng([seed, 0]), network.CHANNELS), seed)
    C = carriers.patterns(np.random.default_rng([seed, 1]))
    video, values = [], []
    for number in range(count):
        rng = np.random.default_rng([seed, 2, number])
        shown = scene(rng, number)
        own = properties.values(shown, rng)
        textures = rng.standard_normal((carriers.TEXTURES, *properties.GRID))
        video.append(carriers.write(carriers.picture(shown), np.concatenate([own, textures]), C))
        values.append(own)
    logits = [class_logits(wired, own) for own in values]
    names = [f"circuits-{number}" for number in range(count)]  # without the seed, from which the truth could be drawn
    clips = Clips.make(np.stack(video), names, np.argmax(logits, 1))
    return Instance(seed, wired, C, clips, np.stack(values))


def _unbiased(wired: Wiring, seed: int) -> Wiring:
    rngs = [np.random.default_rng([seed, 4, number]) for number in range(REFERENCE)]
    logits = [class_logits(wired, properties.values(scene(rng, n), rng)) for n, rng in enumerate(rngs)]
    return replace(wired, biases=-np.mean(logits, 0))
