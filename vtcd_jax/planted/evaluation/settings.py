"""How methods are judged on planted truth, and the settings of VTCD as one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts.settings import NmfConfig, SlicConfig


@dataclass(frozen=True)
class Settings:
    """How methods are judged."""

    clips: int = 16
    """Planted clips per seed: on one half concepts are found, ranked and chosen, on the other they are judged."""
    seeds: int = 5
    """Number of seeds, each with its own clips; intervals are over seeds."""
    seed: int = 0
    """The first seed."""
    steps: int = 20
    """Steps of the removal curves."""
    deals: int = 10
    """Draws of random concepts, the control."""
    noise: float = 0.1
    """Length of the part of a key that tells nothing of what its head detects, which has length 1."""

    def __post_init__(self) -> None:
        if self.clips < 8:
            raise InputError(f"--clips {self.clips}: take at least 8, so that both halves have all four classes")
        for name in ("seeds", "steps", "deals"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)} must be at least 1")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed} must not be negative")
        if not 0 <= self.noise < float("inf"):
            raise InputError(f"--noise {self.noise} must be a number from 0 on")


@dataclass(frozen=True)
class VtcdSettings:
    """How VTCD finds and ranks concepts."""

    masks: int = 160
    """Masked passes per clip for the ranking, at most."""
    slic: SlicConfig = field(default_factory=SlicConfig)
    """How features become tubelets."""
    nmf: NmfConfig = field(default_factory=lambda: NmfConfig(refits=0))
    """How tubelets become concepts."""

    def __post_init__(self) -> None:
        if self.masks < 2:
            raise InputError(f"--masks {self.masks} must be at least 2")
