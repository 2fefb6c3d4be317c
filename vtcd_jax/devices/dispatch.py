"""Concurrent calls of a compiled function, with results in order.

An accelerator queues calls: the next call is sent before the results of the last are read. A CPU runs a call at once,
and much of a network (norms, softmax, all of a small network) uses a single core, so one call per core runs at a time,
each on its own thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
from jax.sharding import Mesh

from .cpu import cores, on_cpu

Item = TypeVar("Item")
Result = TypeVar("Result")


def max_in_flight(mesh: Mesh | None = None) -> int:
    """Calls that run at the same time: one per core of a CPU; 1 on accelerators, and with a mesh, because all of its
    processes must call in the same order."""
    return cores() if on_cpu() and mesh is None else 1


def map_ordered(
    call: Callable[[Item], Result], todo: Iterable[Item], threads: int = 1
) -> Iterator[tuple[Item, Result]]:
    """(item, call(item)) of every item, in order. ``todo`` is read by the calling thread; only ``call`` runs on others.
    JAX compiles for the first call; the others wait for it."""
    running: deque[tuple[Item, Callable[[], Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in todo:
            result = _ready(call(item)) if threads == 1 else pool.submit(_finished, call, item).result
            running.append((item, result))
            while len(running) > threads:
                first, result = running.popleft()
                yield first, result()
        while running:
            first, result = running.popleft()
            yield first, result()
    finally:
        pool.shutdown(cancel_futures=True)


def _ready(result: Result) -> Callable[[], Result]:
    return lambda: result


def _finished(call: Callable[[Item], Result], item: Item) -> Result:
    return jax.block_until_ready(call(item))
