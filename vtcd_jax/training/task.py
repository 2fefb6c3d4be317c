"""What is trained: a task is a set of functions over pytrees of arrays. It knows no optimiser, device or file."""

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
    shared: name -> array that belongs to the whole step, such as the tokens of all class sentences. Never split.
    """

    clips: Mapping[str, Any]
    shared: Mapping[str, Any] = field(default_factory=dict)


Figures = dict[str, Any]
Loss = Callable[[Any, Any, Batch, jax.Array, jax.Array], tuple[jax.Array, Figures, Any]]


@dataclass(frozen=True)
class Task:
    """Functions that make a training.

    config:   what the task depends on, as JSON; a checkpoint of another config is refused. Where clips are read from
              files, put their hashes in.
    init:     key -> (params, state). ``params`` is trained. ``state`` is carried from step to step and changed by the
              loss alone: batch statistics, queues, counters; an empty dict where there is none. Both hold numbers.
    batch:    (seed, step, size) -> the host arrays of a step with ``size`` clips; step counts from 0. A pure function,
              so that every resume sees the same clips. With worker processes it must pickle: a module's function, a
              ``functools.partial`` of one, or a frozen dataclass with ``__call__``.
    loss:     (params, state, batch, step, keys) -> (loss, {name: figure}, new state). Compiled. ``loss`` and figures
              are scalars, each an average over the batch's clips. ``step`` is an int32 scalar for what changes on the
              way. ``keys`` has one random key per clip.
    evaluate: (params, state) -> {name: figure}, on the averaged params where there are such.
    constrain: params -> params after every update, such as rows of unit length. Compiled.
    """

    config: Mapping[str, Any]
    init: Callable[[jax.Array], tuple[Any, Any]]
    batch: Callable[[int, int, int], Batch]
    loss: Loss
    evaluate: Callable[[Any, Any], Mapping[str, float]] = lambda params, state: {}
    constrain: Callable[[Any], Any] | None = None
