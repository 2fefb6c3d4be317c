"""Timing for ``bench.py``: our runs, the torch process, the machine's rate, and the comparison."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

# Largest difference over largest magnitude between the results of the two halves, by the coarser of their precisions.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
Dtype = Literal["float32", "bfloat16"]

Ask = Callable[..., dict[str, Any]]


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def without_torch(command: str) -> str:
    """What is printed where torch is missing."""
    remedy = f"`python3 scripts/dev.py bench {command} --torch`"
    return f"torch is missing, so only our half is measured; get it with {remedy}"


def seconds(run: Callable[[], Any], repeats: int = 1) -> float:
    """Mean over ``repeats`` runs, one after the other."""
    begun = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(run())
    return (time.perf_counter() - begun) / repeats


def matmul_rate(size: int, dtype: str = "float32", repeats: int = 8) -> Callable[[], float]:
    """A function that measures the operations per second of a square matrix product. On a CPU the results of 16-bit
    products are float32, as the library has them there."""
    square = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    results = jnp.float32 if jax.default_backend() == "cpu" else dtype
    product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=results))
    jax.block_until_ready(product(square))
    return lambda: 2 * size**3 / seconds(lambda: product(square), repeats)


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest magnitude."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


@contextmanager
def torch_process(threads: int) -> Iterator[Ask]:
    """A separate process that answers requests (see ``bench_torch.py``)."""
    command = [sys.executable, str(Path(__file__).with_name("bench_torch.py")), str(threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None

    def line() -> str:
        text = process.stdout.readline()  # type: ignore[union-attr]
        if not text:
            raise SystemExit(f"bench.py: the torch process ended early, with exit status {process.wait()}")
        return text

    def ask(*question: Any) -> dict[str, Any]:
        print(json.dumps(question), file=process.stdin, flush=True)
        return json.loads(line())

    try:
        line()
        yield ask
    finally:
        process.stdin.close()
        process.wait()


def pin(threads: int) -> None:
    """Restricts this process, and those that it starts, to ``threads`` cores. Before jax makes its threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
