"""What ``bench.py importance`` measures: masked clips per second of the importance engine, on whatever device there is.

rate     clips under one mask per second, through ``score_blocks``, after compilation
FLOP     of one clip, counted: matrix products alone, two per multiply-add
share    FLOP · rate / the rate of a plain square matrix product in the same precision, measured in the same run
job      seconds for the paper's whole ranking at this rate: 30 clips x 4,000 masks
later    one concept removed at a time: whole passes against passes that begin at the first edited block
moved    copies and transposes of at least one clip's activations in the compiled program, read from its HLO
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from bench_problem import TINY, Problem, operations, problem
from bench_tools import matmul_rate, seconds

from vtcd_jax.ablation.chunks import call_memory, pick_chunk
from vtcd_jax.ablation.design import Explicit
from vtcd_jax.ablation.engine import block_size, configure_passes, padded_rows, score_blocks, tasks
from vtcd_jax.ablation.inputs import build_inputs
from vtcd_jax.ablation.masked_pass import run_block
from vtcd_jax.ablation.prefix import prefix_blocks
from vtcd_jax.models.families import videomae
from vtcd_jax.scores.targets import Targets

JOB = 30 * 4000  # clips x masks of the paper
SCORE = "log_probability"


@dataclass(frozen=True)
class Engine:
    """Masked clips per second of the engine, its fraction of the device's rate, and the paper's whole job."""

    size: Literal["S", "B", "L", "H"] = "B"
    tiny: bool = False
    """A toy instead, for tests."""
    concepts: int = 5
    """Concepts per head."""
    masks: int = 64
    """Masked passes per timing; on a CPU 8 will do."""
    repeats: int = 3
    chunk: int | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    later: int = 24
    """Concepts that are removed one at a time, spread over the layers; 0: leave this out."""
    profile: str | None = None
    """Folder for a trace of ``jax.profiler``."""
    threads: int = 2
    """Cores to use."""
    json: bool = False
    """Print one JSON object."""

    @property
    def config(self) -> videomae.VideoMAEConfig:
        return TINY if self.tiny else videomae.classifier_config(self.size)


def measure_engine(settings: Engine) -> dict[str, Any]:
    """All that is printed."""
    n = settings.masks
    task = problem(settings.config, settings.concepts, 2 * n)
    targets = Targets(task.clips.labels)
    inputs = build_inputs(task.model, task.clips, task.support, targets)
    config = configure_passes(inputs, n, score=SCORE, chunk=1, dtype=settings.dtype)
    chosen = pick_chunk(inputs, config, padded_rows(n, None))
    chunk = settings.chunk or chosen.chunk

    def run(first: int) -> None:
        rows = Explicit(task.gates[first : first + n])
        todo, shared = tasks(rows, task.support.present()), {"score": SCORE, "targets": targets, "chunk": chunk}
        for _ in score_blocks(task.model, task.clips, task.support, rows, todo, dtype=settings.dtype, **shared):
            pass

    run(0)  # compiles
    size = 64 if settings.tiny else 2048 if jax.default_backend() == "cpu" else 8192
    rate, rates, times = matmul_rate(size, config.dtype, 4), [], []
    for repeat in range(settings.repeats):
        rates.append(max(rate() for _ in range(5)))
        times.append(seconds(lambda first=n * (repeat % 2): run(first)) / n)
    if settings.profile:
        with jax.profiler.trace(settings.profile):
            run(n)
    counted = operations(settings.config)["clip"]
    found = {
        "network": "tiny" if settings.tiny else f"ViT-{settings.size}",
        "device": jax.devices()[0].device_kind,
        "dtype": config.dtype,
        "chunk": chunk,
        "chosen": chosen.line(),
        "masks": n,
        "flop_per_clip": counted,
        "clips_per_second": 1 / median(times),
        "matmul_rate": median(rates),
        "share": median(counted / (t * r) for t, r in zip(times, rates, strict=True)),
        "job_seconds": JOB * median(times),
        **program(settings, task, chunk),
    }
    return found | (measure_later(settings, task, chunk) if settings.later else {})


def program(settings: Engine, task: Problem, chunk: int) -> dict[str, Any]:
    """Memory of the compiled block, and what it moves."""
    inputs = build_inputs(task.model, task.clips, task.support, Targets(task.clips.labels))
    config = configure_passes(inputs, settings.masks, score=SCORE, chunk=chunk, dtype=settings.dtype)
    gates = jnp.ones((1, block_size(settings.masks), task.support.concepts))
    compiled = run_block.lower(config, task.model, inputs.of([0]), gates).compile()
    smallest = prod(settings.config.grid) * settings.config.width
    return {"memory": call_memory(compiled), "moved": moved(compiled.as_text() or "", smallest)}


def moved(hlo: str, smallest: int) -> dict[str, int]:
    """Copies and transposes of at least ``least`` elements that stand by themselves, not inside a fused kernel."""
    found = {"copy": 0, "transpose": 0}
    fused = False
    for line in hlo.splitlines():
        if line.startswith(("%", "ENTRY")) and line.rstrip().endswith("{"):
            fused = "fused_computation" in line
        match = re.search(r"= \w+\[([\d,]+)\]\S* (copy|transpose)\(", line)
        if match and not fused and prod(map(int, match[1].split(","))) >= smallest:
            found[match[2]] += 1
    return found


def measure_later(settings: Engine, task: Problem, chunk: int) -> dict[str, Any]:
    """Seconds per pass with one concept removed at a time, for both kinds of passes in turn."""
    chosen = np.linspace(0, task.support.concepts - 1, settings.later).round().astype(int)
    rows = np.ones((len(chosen), task.support.concepts), np.float32)
    rows[np.arange(len(chosen)), chosen] = 0
    design, targets = Explicit(rows), Targets(task.clips.labels)
    asked = (task.model, task.clips, task.support, design, tasks(design, task.support.present()))
    shared = {"score": SCORE, "targets": targets, "chunk": chunk, "dtype": settings.dtype}

    def whole() -> np.ndarray:
        return np.concatenate([block.scores[SCORE] for block in score_blocks(*asked, **shared)])

    def later() -> np.ndarray:
        return np.concatenate([block.scores[SCORE] for block in prefix_blocks(*asked, **shared)])

    from_start, from_block = whole(), later()
    difference = float(np.abs(from_start - from_block).max() / np.abs(from_block).max())
    pairs = [(seconds(whole), seconds(later)) for _ in range(settings.repeats)]
    return {
        "whole": median(a for a, _ in pairs) / len(chosen),
        "later": median(b for _, b in pairs) / len(chosen),
        "later_ratio": median(a / b for a, b in pairs),
        "later_difference": difference,
    }


def print_engine(r: dict[str, Any]) -> None:
    print(f"{r['network']} on {r['device']}, {r['dtype']}, {r['chosen']}; measured with chunk {r['chunk']}")
    print(f"  masked clips           {r['clips_per_second']:10.4g} per second")
    print(f"  counted                {r['flop_per_clip'] / 1e9:10.4g} GFLOP per clip")
    print(
        f"  matrix product         {r['matmul_rate'] / 1e12:10.4g} TFLOP/s, of which the passes reach {r['share']:.0%}"
    )
    print(f"  30 clips x 4,000 masks {r['job_seconds']:10.4g} s")
    print(f"  compiled block         {r['memory'] / 2**20:10.4g} MiB; moves by themselves: {r['moved']}")
    if "whole" in r:
        print(f"  one concept at a time  {r['whole']:10.4g} s a pass, {r['later']:.4g} s from the first edited block")
        print(f"                         ratio {r['later_ratio']:.2f}, results differ by {r['later_difference']:.1e}")
