"""Independent fits of many heads or seeds on one device.

On a CPU each core runs one compiled program for one head: its matrices stay in the core's cache, no core waits for
another, and a core takes the next head when one has converged. (XLA itself would run a loop over heads on one core, and
a batch of heads until the slowest has converged.) An accelerator gets one call with as many heads as fit in memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

BATCH_BYTES = 2**30  # memory for the matrices of one batch of heads on an accelerator


def on_cpu() -> bool:
    """Whether this process computes on the CPU."""
    return jax.default_backend() == "cpu"


def max_batch(count: int, size: int) -> int:
    """Heads of one call on an accelerator, at most ``count``; each needs ``size`` bytes."""
    return max(1, min(count, BATCH_BYTES // size))


def map_on_cores(one: Callable[[int], Any], count: int) -> Any:
    """``one(0)`` … ``one(count - 1)``, pytrees of arrays, stacked on the host along a new first axis; as many at a time
    as cores.

    Results do not depend on the number of cores.
    """
    with ThreadPoolExecutor(cores()) as threads:
        results = list(threads.map(lambda i: jax.block_until_ready(one(i)), range(count)))
    return jax.tree.map(lambda *parts: np.stack(parts), *results)  # on the device every shape would be compiled


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
