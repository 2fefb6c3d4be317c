"""optax optimisers from ``TrainSettings``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from .settings import Optimizer, Rate


def learning_rate(rate: Rate, steps: int) -> optax.Schedule:
    """step (from 0) -> learning rate, as defined by ``Rate``."""
    if rate.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(rate.first, rate.highest, rate.warmup, steps)
    if rate.schedule == "whole-cosine":
        whole = optax.cosine_decay_schedule(rate.highest, steps)
        return _warmed(rate, whole, float(np.asarray(whole(rate.warmup))))
    drops = dict.fromkeys(rate.drops, rate.factor)
    return _warmed(rate, optax.piecewise_constant_schedule(rate.highest, drops), rate.highest)


def _warmed(rate: Rate, after: optax.Schedule, reached: float) -> optax.Schedule:
    """Linear from ``rate.first`` to ``reached`` over the warm-up, then ``after``, whose steps count from the start."""

    def schedule(step: Any) -> Any:
        fraction = jnp.minimum(step / max(rate.warmup, 1), 1.0)
        return jnp.where(step < rate.warmup, rate.first + fraction * (reached - rate.first), after(step))

    return schedule


def make_optimizer(optimizer: Optimizer, rate: Rate, steps: int) -> optax.GradientTransformation:
    """Clipping, weight decay and update, in this order."""
    schedule = learning_rate(rate, steps)
    transforms: list[optax.GradientTransformation] = []
    if optimizer.clip_norm is not None:
        transforms += [optax.clip_by_global_norm(optimizer.clip_norm)]
    mask = _matrices if optimizer.decayed == "matrices" else None
    b1, b2, decay = optimizer.beta1, optimizer.beta2, optimizer.weight_decay
    if optimizer.kind == "adamw":
        transforms += [optax.adamw(schedule, b1=b1, b2=b2, weight_decay=decay, mask=mask)]
    elif optimizer.kind == "adam":
        transforms += [optax.add_decayed_weights(decay, mask), optax.adam(schedule, b1=b1, b2=b2)]
    elif optimizer.kind == "muon":
        transforms += [_muon(optimizer, schedule)]
    else:
        transforms += [optax.add_decayed_weights(decay, mask), optax.sgd(schedule, momentum=optimizer.momentum)]
    return optax.chain(*transforms)


def _muon(optimizer: Optimizer, schedule: optax.Schedule) -> optax.GradientTransformation:
    return optax.contrib.muon(
        schedule,
        beta=optimizer.momentum,
        weight_decay=optimizer.weight_decay,
        adam_b1=optimizer.beta1,
        adam_b2=optimizer.beta2,
        consistent_rms=0.2,
    )


def _matrices(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
