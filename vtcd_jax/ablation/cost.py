"""Time and memory of masked passes: one block is compiled and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.data import ClipSource
from vtcd_jax.devices.dispatch import max_in_flight
from vtcd_jax.models import Model, sites
from vtcd_jax.scores import Scores, Targets

from .chunks import call_memory
from .engine import block_size, configure_passes
from .gates import padded_columns
from .inputs import build_inputs, donors
from .masked_pass import Result, run_block
from .support import Support

LONG = 1.0  # seconds, after which a measurement is not repeated


@dataclass(frozen=True)
class PassCost:
    """Measured cost of a masked pass.

    chunk:     rows that run together.
    compiling: seconds.
    seconds:   of one pass, with as many calls at the same time as in a run.
    memory:    bytes of the compiled call with its parameters.
    """

    chunk: int
    compiling: float
    seconds: float
    memory: int


def pass_cost(
    model: Model,
    clips: ClipSource,
    targets: Targets,
    support: Support,
    *,
    masks: int,
    score: Scores,
    mode: str = "zero",
    chunk: int | None = None,
    dtype: str | None = None,
    result: Result = "scores",
) -> PassCost:
    """Measured on a few passes of the first clip. support: of one clip."""
    few = [0, int(donors(clips)[0])] if mode == "resample" else [0]  # and the clip that it takes values of
    inputs = build_inputs(model, clips[few], support[[0] * len(few)], targets[few], mode)
    config = configure_passes(inputs, masks, score=score, mode=mode, chunk=chunk, dtype=dtype, result=result)
    rows, count = min(block_size(masks), config.chunk), max_in_flight()
    drawn = np.random.default_rng(0).integers(0, 2, (1, rows, support.concepts)).astype(np.float32)
    call = (model, inputs.of([0]), jnp.asarray(padded_columns(drawn)))
    begun = time.perf_counter()
    compiled = run_block.lower(config, *call).compile()
    compiling = time.perf_counter() - begun
    with ThreadPoolExecutor(count) as threads:

        def several() -> Any:
            return list(threads.map(lambda _: jax.block_until_ready(compiled(*call)), range(count)))

        each = steady_seconds(several) / count / rows
    return PassCost(config.chunk, compiling, each, call_memory(compiled, count))


def steady_seconds(work: Callable[[], Any]) -> float:
    """The median of three calls after a first one; of fewer where one takes longer than a second."""
    spent = [seconds(work)]
    while len(spent) < 4 and sum(spent) < LONG:
        spent.append(seconds(work))
    return sorted(spent[1:] or spent)[len(spent[1:]) // 2]


def seconds(work: Callable[[], Any]) -> float:
    """Seconds of a call until its result is ready."""
    begun = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - begun


def worst_case_support(model: Model, names: Sequence[str], largest: int) -> Support:
    """A support of one clip in which every head has ``largest`` concepts."""
    ids, begun = {}, 0
    for name in names:
        shape = sites(model)[name].shape
        heads, (t, h, w) = (shape[4] if len(shape) == 6 else 1), shape[1:4]
        tokens = np.arange(t * h * w).reshape(t, h, w, 1) % largest
        ids[name] = (begun + tokens + largest * np.arange(heads)).astype(np.int32)[None, ..., None]
        begun += heads * largest
    return Support(ids, begun)
