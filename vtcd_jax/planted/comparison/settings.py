"""Settings of version 2, and its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from vtcd_jax.base.errors import InputError

LEVELS = (0.1, 0.5, 1.0)
SECRET = 16  # characters of the shortest hidden seed


@dataclass(frozen=True)
class ComparisonSettings:
    """Settings of version 2.

    clips:       per seed; concepts are found, ranked and chosen on one half, and evaluated on the other.
    seeds, seed: number of seeds, each with its own network and clips, and the first one.
    steps:       of the removal curves.
    controls:    draws of random concepts.
    levels:      of noise: expected length of the random part of a key, where a property has a length of about 1.
    hidden_seed: a secret text from which the seeds are drawn instead of ``seed``; None: they are public.
    """

    clips: int = 8
    seeds: int = 5
    seed: int = 0
    steps: int = 20
    controls: int = 3
    levels: tuple[float, ...] = LEVELS
    hidden_seed: str | None = None

    def __post_init__(self) -> None:
        if self.clips < 8:
            raise InputError(f"--clips {self.clips}: take at least 8")
        for name in ("seeds", "steps", "controls"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} {getattr(self, name)} must be at least 1")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed} must not be negative")
        if not self.levels or len(set(self.levels)) < len(self.levels):
            raise InputError("--levels: give at least one level of noise, each once")
        if not all(0 <= level < float("inf") for level in self.levels):
            raise InputError(f"--levels {self.levels} must be finite numbers of at least 0")
        if self.hidden_seed is not None and len(self.hidden_seed) < SECRET:
            raise InputError(f"--hidden-seed: take at least {SECRET} random characters, so that it cannot be guessed")
        if self.hidden_seed is not None and self.seed:
            raise InputError("--seed and --hidden-seed exclude each other; give one of them")

    def all_seeds(self) -> list[int]:
        """The seed of every instance. Hidden ones have 62 bits and are never written anywhere."""
        if self.hidden_seed is None:
            return list(range(self.seed, self.seed + self.seeds))
        return [int(_digest(f"{self.hidden_seed}/{number}")[:15], 16) for number in range(self.seeds)]

    def to_json(self) -> dict[str, object]:
        """As plain types; of a hidden seed only its SHA-256, with which an organiser can show later which it was."""
        seed = {"seed": self.seed} if self.hidden_seed is None else {"hidden_seed_sha256": _digest(self.hidden_seed)}
        counts = {name: getattr(self, name) for name in ("clips", "seeds", "steps", "controls")}
        return {**counts, **seed, "levels": list(self.levels)}


def _digest(text: str) -> str:
    return sha256(f"vtcd-benchmark/2 {text}".encode()).hexdigest()
