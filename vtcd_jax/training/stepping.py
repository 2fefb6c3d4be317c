"""A run of steps, with the host one step behind the device.

While the device computes a step, the host prepares the next batch and reads the metrics of the step before. So a
loss that is not finite ends the training at most one step later, and before a checkpoint is saved.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .step import TrainState
from .task import Batch, Metrics


class NotFinite(Exception):
    """A value that is not finite, and its step (from 1)."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(step, what)
        self.step, self.what = step, what


@dataclass(frozen=True)
class Stretch:
    """A run of steps without a pause.

    state:   after the last of them.
    metrics: of each step.
    seconds: duration.
    idle:    seconds in which the device waited for the next batch.
    stopped: whether ``stop`` ended it.
    """

    state: TrainState
    metrics: list[dict[str, float]]
    seconds: float
    idle: float
    stopped: bool


def make_steps(
    update: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterator[Batch],
    steps: range,
    report: Callable[[int, dict[str, float] | None], None],
    stop: Callable[[], bool],
) -> Stretch:
    """Makes ``steps`` (from 0), or fewer if ``stop`` returns True.

    batches: on the device.
    report:  called after each step with the number of steps made and the last known metrics.

    Raises NotFinite if ``loss`` or ``gradient_norm`` is not finite.
    """
    begun = finished = time.perf_counter()
    metrics: list[dict[str, float]] = []
    waiting: deque[Future] = deque()
    idle, stopped = 0.0, False

    def read_one() -> None:
        nonlocal finished
        values, finished = waiting.popleft().result()
        _check(values, steps[len(metrics)] + 1)
        metrics.append(values)

    with ThreadPoolExecutor(1) as reader:
        for step in steps:
            batch = next(batches)
            if waiting and waiting[0].done():
                read_one()
            idle += 0.0 if waiting else max(0.0, time.perf_counter() - finished)
            state, values = update(state, batch)
            waiting.append(reader.submit(_read, values))
            if len(waiting) > 1:
                read_one()
            report(step + 1, metrics[-1] if metrics else None)
            if stopped := stop():
                break
        while waiting:
            read_one()
    return Stretch(state, metrics, time.perf_counter() - begun, idle, stopped)


def check_state(state: TrainState) -> None:
    """Raises NotFinite if a parameter is not finite."""
    if not _finite(state.params):
        raise NotFinite(int(state.step), "a parameter")


@jax.jit
def _finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _read(metrics: Metrics) -> tuple[dict[str, float], float]:
    """The metrics on the host, and the time of their arrival."""
    values = jax.device_get(metrics)
    return {name: float(value) for name, value in values.items()}, time.perf_counter()


def _check(metrics: dict[str, float], step: int) -> None:
    for name, what in (("loss", "the loss"), ("gradient_norm", "the gradient")):
        if not math.isfinite(metrics[name]):
            raise NotFinite(step, what)
