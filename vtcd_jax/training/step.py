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
from .task import Batch, Metrics, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The state of a training, as in a checkpoint.

    step:    number of updates, int32 scalar.
    params:  the trained arrays.
    state:   the task's state.
    moments: the optimiser's state.
    average: averaged params, or None.
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


def make_step(task: Task, settings: TrainSettings) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """(state, batch) -> (state, metrics), compiled; it reuses the memory of the first state.

    The batch's clips have the leading axes [part, clip] (``in_parts``). The metrics are the task's with ``loss`` and
    ``gradient_norm``, all scalars.
    """
    optimizer = make_optimizer(settings.optimizer, settings.rate, settings.steps)

    def step(before: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        slope, metrics, state = _gradient(task, settings, before, batch)
        update, moments = optimizer.update(slope, before.moments, before.params)
        params: Any = optax.apply_updates(before.params, update)
        if task.constrain is not None:
            params = task.constrain(params)
        average = _averaged(settings.average, before, params)
        metrics = {**metrics, "gradient_norm": _norm(slope)}
        return TrainState(before.step + 1, params, state, moments, average), metrics

    return jax.jit(step, donate_argnums=0)


def in_parts(batch: Batch, parts: int) -> Batch:
    """Clips [clip, ...] -> [part, clip of the part, ...], on the host."""
    return Batch(jax.tree.map(lambda a: a.reshape(parts, a.shape[0] // parts, *a.shape[1:]), batch.clips), batch.shared)


def _gradient(task: Task, settings: TrainSettings, before: TrainState, batch: Batch) -> tuple[Any, Metrics, Any]:
    """Mean gradient and metrics over the parts, and the state after the last of them."""
    keys = _keys(settings.seed, before.step, jax.tree.leaves(batch.clips)[0].shape[:2])

    def loss_of(params: Any, state: Any, clips: Any, keys: jax.Array) -> tuple[jax.Array, tuple[Metrics, Any]]:
        part = _cast(Batch(clips, batch.shared), settings.dtype)
        loss, metrics, after = task.loss(_cast(params, settings.dtype), state, part, before.step, keys)
        after = jax.tree.map(lambda new, old: new.astype(old.dtype), after, state)
        return loss.astype(jnp.float32), ({"loss": loss, **metrics}, after)

    def one(state: Any, clips: Any, keys: jax.Array) -> tuple[Any, Metrics, Any]:
        (_, (metrics, state)), slope = jax.value_and_grad(loss_of, has_aux=True)(before.params, state, clips, keys)
        return slope, jax.tree.map(lambda metric: metric.astype(jnp.float32), metrics), state

    if settings.accumulation == 1:
        return one(before.state, jax.tree.map(lambda a: a[0], batch.clips), keys[0])
    return _mean_over_parts(one, before.state, batch.clips, keys)


def _mean_over_parts(one: Callable, state: Any, clips: Any, keys: jax.Array) -> tuple[Any, Metrics, Any]:
    parts = keys.shape[0]
    shapes = jax.eval_shape(one, state, jax.tree.map(lambda a: a[0], clips), keys[0])[:2]
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def add(carried: Any, part: Any) -> tuple[Any, None]:
        sums, state = carried
        slope, metrics, state = one(state, *part)
        return (jax.tree.map(jnp.add, sums, (slope, metrics)), state), None

    (sums, state), _ = jax.lax.scan(add, (zeros, state), (clips, keys))
    slope, metrics = jax.tree.map(lambda total: total / parts, sums)
    return slope, metrics, state


def _keys(seed: int, step: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """One key per clip, [part, clip of the part]: a clip has the same key for any number of parts."""
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
