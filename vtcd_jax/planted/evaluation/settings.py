"""Settings of the benchmark on planted truth, and of VTCD as one of its methods."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts.settings import NmfConfig, SlicConfig, resolved


@dataclass(frozen=True)
class Settings:
    """Settings of the benchmark."""

    clips: int = 16
    """Planted clips per seed: concepts are found, ranked and chosen on one half, and evaluated on the other."""
    seeds: int = 5
    """Number of seeds, each with its own clips; intervals are over seeds."""
    seed: int = 0
    """The first seed."""
    steps: int = 20
    """Steps of the removal curves."""
    controls: int = 10
    """Draws of random concepts, the control."""
    noise: float = 0.1
    """Length of the random part of a key; the part that its head detects has length 1."""

    def __post_init__(self) -> None:
        if self.clips < 8:
            raise InputError(f"--clips {self.clips}: take at least 8, so that both halves have all four classes")
        for name in ("seeds", "steps", "controls"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)} must be at least 1")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed} must not be negative")
        if not 0 <= self.noise < float("inf"):
            raise InputError(f"--noise {self.noise} must be a finite number of at least 0")


@dataclass(frozen=True)
class VtcdSettings:
    """Settings of VTCD."""

    masks: int = 160
    """Largest number of masked passes per clip for the ranking."""
    slic: SlicConfig = field(default_factory=SlicConfig)
    """How features become tubelets."""
    nmf: NmfConfig = field(default_factory=lambda: NmfConfig(refits=0))
    """How tubelets become concepts."""

    def __post_init__(self) -> None:
        if self.masks < 2:
            raise InputError(f"--masks {self.masks} must be at least 2")
        resolved(self.slic, self.nmf)  # refuses what excludes each other
