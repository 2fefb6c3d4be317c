"""Tasks: what is trained, as functions over pytrees of arrays, independent of optimisers, devices and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """The arrays of one step.

    clips:  name -> array [clip, ...]. Split over devices, and over the parts of an accumulated gradient.
    shared: name -> array of the whole step, such as the tokens of all class sentences. Never split.
    """

    clips: Mapping[str, Any]
    shared: Mapping[str, Any] = field(default_factory=dict)


Metrics = dict[str, Any]
Loss = Callable[[Any, Any, Batch, jax.Array, jax.Array], tuple[jax.Array, Metrics, Any]]


@dataclass(frozen=True)
class Task:
    """The functions of a training.

    config:   everything that the task depends on, as JSON; a checkpoint of another config is refused. For clips from
              files include their hashes.
    init:     key -> (params, state). ``params`` is trained. ``state`` is passed from step to step and changed only by
              the loss: batch statistics, queues, counters; else an empty dict. Both hold numbers.
    batch:    (seed, step, size) -> the host arrays of a step with ``size`` clips; step counts from 0. A pure function,
              so that a resumed training sees the same clips. With worker processes it must pickle: a module's function,
              a ``functools.partial`` of one, or a frozen dataclass with ``__call__``.
    loss:     (params, state, batch, step, keys) -> (loss, {name: metric}, new state). Compiled. ``loss`` and metrics
              are scalars, each an average over the batch's clips. ``step`` is an int32 scalar, for losses that
              change during training. ``keys`` has one random key per clip.
    evaluate: (params, state) -> {name: metric}, on the averaged params if there are any.
    constrain: params -> params after every update, such as rows of unit length. Compiled.
    """

    config: Mapping[str, Any]
    init: Callable[[jax.Array], tuple[Any, Any]]
    batch: Callable[[int, int, int], Batch]
    loss: Loss
    evaluate: Callable[[Any, Any], Mapping[str, float]] = lambda params, state: {}
    constrain: Callable[[Any], Any] | None = None
