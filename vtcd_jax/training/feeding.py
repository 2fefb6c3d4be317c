"""Batches made in advance by threads or processes on the host.

Each worker makes whole batches, and a batch is a function of its step: neither the number of workers nor an
interruption changes what a step sees.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import jax

from vtcd_jax.base.errors import InputError

from .task import Batch


@dataclass(frozen=True)
class Workers:
    """The workers that make batches.

    count: number of threads or processes; each makes one batch at a time.
    kind:  ``threads`` share the interpreter: enough if NumPy, Pillow or a decoder do the work outside it.
           ``processes`` are new interpreters, which import what the task's ``batch`` needs and see no accelerator.
    """

    count: int = 1
    kind: Literal["threads", "processes"] = "threads"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"workers: 1 or more, not {self.count}")


@contextmanager
def batches_ahead(
    make: Callable[[int, int, int], Batch], seed: int, size: int, steps: range, workers: Workers
) -> Iterator[Iterator[Batch]]:
    """An iterator over the batches of ``steps``, in order; up to ``workers.count`` + 1 are ready or being made.

    An error of ``make`` is raised when its batch is due. Running work ends with the block.
    """
    pool = _executor(workers)
    try:
        yield _in_order(pool, make, seed, size, steps, workers.count + 1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: Executor, make: Callable[[int, int, int], Batch], seed: int, size: int, steps: range, ahead: int
) -> Iterator[Batch]:
    waiting = deque(pool.submit(make, seed, step, size) for step in steps[:ahead])
    for index, step in enumerate(steps):
        try:
            batch = waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                f"a worker process ended before its batch was made (step {step + 1}): too little memory, or a "
                'script without `if __name__ == "__main__":`'
            ) from None
        if index + ahead < len(steps):
            waiting.append(pool.submit(make, seed, steps[index + ahead], size))
        yield batch


def _executor(workers: Workers) -> Executor:
    if workers.kind == "threads":
        return ThreadPoolExecutor(workers.count)
    context = multiprocessing.get_context("spawn")  # a fork of a process in which jax runs threads can hang
    return ProcessPoolExecutor(workers.count, context, initializer=_begin_worker)


def _begin_worker() -> None:
    """A worker computes on the CPU, ignores Ctrl-C, and ends with its parent process."""
    jax.config.update("jax_platforms", "cpu")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
