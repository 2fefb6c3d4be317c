"""The number of rows of masks that run together: measured on the device, within its memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from vtcd_jax.devices.mesh import axis_size, put

from .gates import padded_columns
from .inputs import EngineInputs
from .masked_pass import MASK, VIDEO, PassConfig, run_block

WITHIN = 1.03  # a smaller chunk that is at most this much slower is taken
USABLE = 0.92  # fraction of a device's memory that a call may use


@dataclass(frozen=True)
class Chosen:
    """The chunk of a run, and what was measured to choose it.

    chunk:     rows that run together.
    rates:     measured chunk -> rows per second.
    memory:    measured chunk -> bytes of the compiled call.
    too_large: the first chunk that does not fit, or None.
    """

    chunk: int
    rates: dict[int, float] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    too_large: int | None = None

    def line(self) -> str:
        """The choice in one line."""
        if not self.rates:
            return f"chunk {self.chunk} (the CPU's)"
        tried = ", ".join(f"{chunk}: {rate:.3g}/s" for chunk, rate in self.rates.items())
        return f"chunk {self.chunk}, the smallest within 3 % of the best rate ({tried})"


def pick_chunk(inputs: EngineInputs, config: PassConfig, rows: int) -> Chosen:
    """1 on a CPU; elsewhere the smallest power of two within 3 % of the best measured rate that fits in memory.

    rows: of a call, over all devices along the axis ``mask``.
    """
    if jax.default_backend() == "cpu":
        return Chosen(1)
    tasks, device_rows = axis_size(config.mesh, VIDEO), rows // axis_size(config.mesh, MASK)
    model, clips = put(inputs.model, config.mesh, P()), inputs.of([0] * tasks, config.mesh)
    gates = padded_columns(np.ones((tasks, rows, inputs.support.concepts), np.float32))
    gates = put(gates, config.mesh, P(VIDEO, MASK))
    rates: dict[int, float] = {}
    memory: dict[int, int] = {}
    chunk, too_large = 1, None
    while chunk <= device_rows:
        call = run_block.lower(replace(config, chunk=chunk), model, clips, gates).compile()
        memory[chunk] = call_memory(call)
        try:
            if memory[chunk] > free_memory():
                raise MemoryError
            jax.block_until_ready(call(model, clips, gates))
            begun = time.perf_counter()
            jax.block_until_ready(call(model, clips, gates))
        except (MemoryError, jax.errors.JaxRuntimeError):
            too_large = chunk
            break
        rates[chunk] = tasks * rows / (time.perf_counter() - begun)
        chunk *= 2
    if not rates:
        raise MemoryError("not even one row of masks fits into the device's memory")
    best = max(rates.values())
    return Chosen(min(c for c, rate in rates.items() if rate * WITHIN >= best), rates, memory, too_large)


def call_memory(call: Any, calls: int = 1) -> int:
    """Bytes of a compiled call on a device, or of several calls at the same time.

    The calls share parameters and inputs; each has its own results and temporary arrays.
    """
    analysis = call.memory_analysis()
    return int(analysis.argument_size_in_bytes + calls * (analysis.temp_size_in_bytes + analysis.output_size_in_bytes))


def free_memory() -> float:
    """Bytes that a call may take on the first device of this process; infinite where the device reports none."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return USABLE * stats["bytes_limit"] if "bytes_limit" in stats else float("inf")
