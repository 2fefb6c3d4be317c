"""Calls of a compiled function, several under way at a time, their results in order.

An accelerator queues what it is sent: the next call is on its way before the results of the last are read. A CPU runs a
call at once, and much of a network (norms, softmax, all of a small one) on a single core; so as many calls as there are
cores run side by side, each on a thread of its own.
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


def at_once(mesh: Mesh | None = None) -> int:
    """How many calls a device takes side by side: one per core of a CPU; 1 on accelerators, and with a mesh, whose
    processes must all call in the same order."""
    return cores() if on_cpu() and mesh is None else 1


def in_order(call: Callable[[Item], Result], todo: Iterable[Item], threads: int = 1) -> Iterator[tuple[Item, Result]]:
    """(item, call(item)) of every item. ``todo`` is read here, as calls are begun; only ``call`` runs on other threads.
    JAX compiles for the first call, and the others wait for it."""
    running: deque[tuple[Item, Callable[[], Result]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in todo:
            begun = _known(call(item)) if threads == 1 else pool.submit(_finished, call, item).result
            running.append((item, begun))
            while len(running) > threads:
                first, result = running.popleft()
                yield first, result()
        while running:
            first, result = running.popleft()
            yield first, result()
    finally:
        pool.shutdown(cancel_futures=True)


def _known(result: Result) -> Callable[[], Result]:
    return lambda: result


def _finished(call: Callable[[Item], Result], item: Item) -> Result:
    return jax.block_until_ready(call(item))
