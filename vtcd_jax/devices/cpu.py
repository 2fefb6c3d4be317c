"""Many heads, or seeds, that are fitted independently: how they share the device.

On a CPU one compiled program for one head runs on every core at a time: its matrices stay in that core's cache, no core
waits for another, and a head that has converged makes room for the next. (XLA itself would run a loop over heads on one
core, and a batch of heads until the slowest has converged.) An accelerator gets one call with as many heads side by
side as fit.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

BATCH_BYTES = 2**30  # what the matrices of the heads in flight may take on an accelerator


def on_cpu() -> bool:
    """Does this process compute on the CPU?"""
    return jax.default_backend() == "cpu"


def side_by_side(count: int, size: int) -> int:
    """How many of ``count`` heads an accelerator takes at once, when one needs ``size`` bytes."""
    return max(1, min(count, BATCH_BYTES // size))


def on_cores(one: Callable[[int], Any], count: int) -> Any:
    """``one(0)`` … ``one(count - 1)``, pytrees of arrays, stacked along a new first axis; as many at a time as cores.

    Results do not depend on the number of cores.
    """
    with ThreadPoolExecutor(cores()) as threads:
        results = list(threads.map(lambda i: jax.block_until_ready(one(i)), range(count)))
    return jax.tree.map(lambda *parts: jnp.stack(parts), *results)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
