"""One step of a training: gradient, update, average. Pure and compiled once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from .optimizer import make_optimizer
from .settings import TrainSettings
from .task import Batch, Figures, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What a checkpoint holds.

    step:    updates made, int32 scalar.
    params:  the trained arrays.
    state:   what the task carries from step to step.
    moments: the optimiser's.
    average: averaged params; None where none are kept.
    """

    step: Any
    params: Any
    state: Any
    moments: Any
    average: Any


def initial_state(task: Task, settings: TrainSettings) -> TrainState:
    """The state before step 0; a function of the seed."""
    params, state = jax.tree.map(jnp.asarray, task.init(jax.random.key(settings.seed)))
    moments = make_optimizer(settings.optimizer, settings.rate, settings.steps).init(params)
    average = None if settings.average is None else jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, state, moments, average)


def make_step(task: Task, settings: TrainSettings) -> Callable[[TrainState, Batch], tuple[TrainState, Figures]]:
    """(state, batch) -> (state, figures), compiled; the first state's memory is used again.

    The batch's clips have the leading axes [part, clip] (``in_parts``). The figures are the task's with ``loss`` and
    ``gradient_norm``, all scalars.
    """
    optimizer = make_optimizer(settings.optimizer, settings.rate, settings.steps)

    def step(before: TrainState, batch: Batch) -> tuple[TrainState, Figures]:
        slope, figures, state = _gradient(task, settings, before, batch)
        update, moments = optimizer.update(slope, before.moments, before.params)
        params: Any = optax.apply_updates(before.params, update)
        if task.constrain is not None:
            params = task.constrain(params)
        average = _averaged(settings.average, before, params)
        figures = {**figures, "gradient_norm": _norm(slope)}
        return TrainState(before.step + 1, params, state, moments, average), figures

    return jax.jit(step, donate_argnums=0)


def in_parts(batch: Batch, parts: int) -> Batch:
    """Clips [clip, ...] -> [part, clip of the part, ...], on the host."""
    return Batch(jax.tree.map(lambda a: a.reshape(parts, a.shape[0] // parts, *a.shape[1:]), batch.clips), batch.shared)


def _gradient(task: Task, settings: TrainSettings, before: TrainState, batch: Batch) -> tuple[Any, Figures, Any]:
    """Mean gradient and figures over the parts, and the state after the last of them."""
    keys = _keys(settings.seed, before.step, jax.tree.leaves(batch.clips)[0].shape[:2])

    def loss_of(params: Any, state: Any, clips: Any, keys: jax.Array) -> tuple[jax.Array, tuple[Figures, Any]]:
        part = _cast(Batch(clips, batch.shared), settings.dtype)
        loss, figures, after = task.loss(_cast(params, settings.dtype), state, part, before.step, keys)
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
        return loss.astype(jnp.float32), ({"loss": loss, **figures}, after)

    def one(state: Any, clips: Any, keys: jax.Array) -> tuple[Any, Figures, Any]:
        (_, (figures, state)), slope = jax.value_and_grad(loss_of, has_aux=True)(before.params, state, clips, keys)
        return slope, jax.tree.map(lambda figure: figure.astype(jnp.float32), figures), state

    if settings.accumulation == 1:
        return one(before.state, jax.tree.map(lambda a: a[0], batch.clips), keys[0])
    return _mean_over_parts(one, before.state, batch.clips, keys)


def _mean_over_parts(one: Callable, state: Any, clips: Any, keys: jax.Array) -> tuple[Any, Figures, Any]:
    parts = keys.shape[0]
    shapes = jax.eval_shape(one, state, jax.tree.map(lambda a: a[0], clips), keys[0])[:2]
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def add(carried: Any, part: Any) -> tuple[Any, None]:
        sums, state = carried
        slope, figures, state = one(state, *part)
        return (jax.tree.map(jnp.add, sums, (slope, figures)), state), None

    (sums, state), _ = jax.lax.scan(add, (zeros, state), (clips, keys))
    slope, figures = jax.tree.map(lambda total: total / parts, sums)
    return slope, figures, state


def _keys(seed: int, step: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """One key per clip, [part, clip of the part]: a clip has the same key however the batch is cut."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.random.split(key, shape[0] * shape[1]).reshape(shape)


def _averaged(decay: float | None, before: TrainState, params: Any) -> Any:
    if decay is None:
        return None
    decayed = jnp.minimum(decay, (1 + before.step) / (10 + before.step))
    return jax.tree.map(lambda a, b: decayed * a + (1 - decayed) * b, before.average, params)


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(sum((jnp.square(leaf).sum() for leaf in jax.tree.leaves(tree)), jnp.zeros(())))


def _cast(tree: Any, dtype: str) -> Any:
    """float32 leaves in ``dtype``."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.dtype == jnp.float32 else leaf, tree)
