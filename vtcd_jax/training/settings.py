"""The settings of a training, checked when they are created."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vtcd_jax.base.errors import InputError


def _whole(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise InputError(f"{name}: {minimum} or more, not {value}")


def _finite_from_zero(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise InputError(f"{name}: a finite number from 0, not {value}")


def _fraction(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{name}: from 0 up to 1 (not 1 itself), not {value}")


@dataclass(frozen=True)
class Rate:
    """The learning rate at each step.

    highest:  its highest value.
    schedule: ``cosine``: linear from ``first`` to ``highest`` over the warm-up, then half a cosine to 0 over the
              remaining steps. ``whole-cosine``: half a cosine over all steps; the warm-up rises linearly from ``first``
              to the cosine's value at its end (SlowFast's recipe). ``steps``: ``highest``, times ``factor`` at each of
              ``drops``. ``constant``: ``highest``. The last two rise linearly from ``first`` over the warm-up.
    warmup:   steps before the schedule begins.
    first:    rate at step 0 of a warm-up.
    drops:    steps at which ``steps`` multiplies the rate.
    factor:   the factor at ``drops``.
    """

    highest: float = 1e-3
    schedule: Literal["cosine", "whole-cosine", "steps", "constant"] = "cosine"
    warmup: int = 0
    first: float = 0.0
    drops: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        _finite_from_zero("rate.highest", self.highest)
        _finite_from_zero("rate.first", self.first)
        _finite_from_zero("rate.factor", self.factor)
        _whole("rate.warmup", self.warmup, 0)
        if list(self.drops) != sorted(set(self.drops)) or any(drop < 1 for drop in self.drops):
            raise InputError(f"rate.drops: steps from 1 that grow, not {self.drops}")
        if bool(self.drops) != (self.schedule == "steps"):
            raise InputError("rate.drops: given with the schedule 'steps', and only with it")


@dataclass(frozen=True)
class Optimizer:
    """How gradients change the parameters.

    kind:         ``adamw`` subtracts the decay from the parameters after the update; ``adam`` and ``sgd`` add it to the
                  gradient, as PyTorch's optimisers of these names do. ``muon`` (Jordan 2024): parameters with two
                  axes move along their orthogonalised momentum, at AdamW's size of update (Liu et al. 2025,
                  arXiv:2502.16982); all others as ``adam`` with Nesterov's momentum, without decay.
    weight_decay: its factor.
    decayed:      ``matrices``: parameters with two axes or more. ``all``: every parameter.
    clip_norm:    gradients with a larger global norm are scaled down to it; None leaves them.
    beta1, beta2: of Adam.  momentum: of SGD and Muon; 0.95 is usual with Muon.
    """

    kind: Literal["adamw", "adam", "sgd", "muon"] = "adamw"
    weight_decay: float = 0.0
    decayed: Literal["matrices", "all"] = "matrices"
    clip_norm: float | None = 1.0
    beta1: float = 0.9
    beta2: float = 0.999
    momentum: float = 0.9

    def __post_init__(self) -> None:
        _finite_from_zero("optimizer.weight_decay", self.weight_decay)
        if self.kind == "muon" and self.decayed != "matrices":
            raise InputError("optimizer.decayed: muon decays matrices only")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise InputError(f"optimizer.clip_norm: above 0 or none, not {self.clip_norm}")
        for name in ("beta1", "beta2", "momentum"):
            _fraction(f"optimizer.{name}", getattr(self, name))


@dataclass(frozen=True)
class TrainSettings:
    """Everything that a training depends on besides its task.

    steps:            updates of the parameters.
    batch:            clips per update.
    accumulation:     number of parts of a batch, computed one after the other, with the mean of their gradients. If the
                      loss is an average over clips, the result is that of the whole batch, up to rounding. A loss
                      that compares clips compares those of a part, and batch statistics are those of a part.
    rate, optimizer:  see there.
    average:          decay d of the averaged parameters: after step t (from 0) they are d' * before + (1 - d') * new
                      with d' = min(d, (1 + t) / (10 + t)). None: no average.
    seed:             of the first parameters, the order of clips and the loss's keys.
    dtype:            of parameters and clips within the loss; parameters, moments and averages are float32 throughout.
    evaluate_every:   steps between rows of the table, each with an evaluation; the last step has one, too.
    checkpoint_every: steps between checkpoints; the last step has one, too.
    kept_every:       checkpoints at multiples of this are kept, and the last two others. None: only the last two.
    """

    steps: int
    batch: int
    accumulation: int = 1
    rate: Rate = Rate()
    optimizer: Optimizer = Optimizer()
    average: float | None = None
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    evaluate_every: int = 500
    checkpoint_every: int = 500
    kept_every: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulation", "evaluate_every", "checkpoint_every"):
            _whole(name, getattr(self, name), 1)
        _whole("seed", self.seed, 0)
        if self.average is not None:
            _fraction("average", self.average)
        if self.batch % self.accumulation:
            raise InputError(f"batch: {self.batch} clips cannot be cut into accumulation = {self.accumulation} parts")
        if self.rate.schedule in ("cosine", "whole-cosine") and self.rate.warmup >= self.steps:
            raise InputError(f"rate.warmup: below the number of steps ({self.steps}), not {self.rate.warmup}")
        if self.kept_every is not None and (self.kept_every < 1 or self.kept_every % self.checkpoint_every):
            raise InputError(f"kept_every: a multiple of checkpoint_every ({self.checkpoint_every})")
