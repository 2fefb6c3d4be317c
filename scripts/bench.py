"""How fast the masked forward pass is, and how much memory CRIS takes, measured on this machine.

    python scripts/bench.py forward              seconds per masked clip, beside the same network in torch
    python scripts/bench.py forward --size S     another published size; --json for machines
    python scripts/bench.py memory --masks 64    peak memory of CRIS

Two things are compared by turns (A B A B …), each pair giving one ratio, so that a busy machine harms both alike. Ours
goes through the importance engine, with concepts over the keys of all layers and random gates; the torch side
(``bench_torch.py``) is a process of its own with the same weights, clip and masks. The floor is the counted
arithmetic over the rate of a plain float32 matrix product, measured between the pairs.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from bench_problem import TINY, Problem, concepts_of, operations, problem

from vtcd_jax.importance.designs import Explicit
from vtcd_jax.importance.engine import score_blocks
from vtcd_jax.importance.ranking import cris
from vtcd_jax.models import Output, files, videomae
from vtcd_jax.models.attention import attend

TORCH = "torch is missing, so only our half is measured; get it with `python3 scripts/dev.py bench forward --torch`"
TOLERANCE = 1e-4  # largest difference over largest magnitude between the two networks' logits


@dataclass(frozen=True)
class Network:
    """The network that is measured: a VideoMAE classifier with random weights."""

    size: Literal["S", "B", "L", "H"] = "B"
    tiny: bool = False
    """A toy instead, for tests."""
    concepts: int = 5
    """Concepts per head."""
    threads: int = 2
    """Cores to use."""
    json: bool = False
    """Print one JSON object."""

    @property
    def config(self) -> videomae.VideoMAEConfig:
        return TINY if self.tiny else videomae.classifier_config(self.size)


@dataclass(frozen=True)
class Forward(Network):
    """Seconds per masked clip beside torch, attention alone, and the share of the machine's rate."""

    pairs: int = 5
    """Timed pairs."""
    masks: int = 4
    """Masked passes per timing."""


@dataclass(frozen=True)
class Memory(Network):
    """Peak memory of CRIS on one clip."""

    masks: int = 8


def seconds(run: Callable[[], Any], repeats: int = 1) -> float:
    """Mean over ``repeats`` runs, one after the other."""
    begun = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(run())
    return (time.perf_counter() - begun) / repeats


def matmul_rate(size: int) -> Callable[[], float]:
    """A function that measures the float32 operations per second of a square matrix product."""
    square = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(lambda a: a @ a)
    jax.block_until_ready(product(square))
    return lambda: 2 * size**3 / seconds(lambda: product(square), 8)


def logits(output: Output, context: Any) -> jax.Array:
    """A score that is the whole row of logits: [batch, class]."""
    assert output.logits is not None
    return output.logits


def engine_logits(task: Problem, start: int, stop: int) -> np.ndarray:
    """[mask, class], by the importance engine."""
    rows = Explicit(task.gates[start:stop])
    blocks = score_blocks(task.model, task.clips, task.support, rows, score={"logits": logits})
    return np.concatenate([block.scores["logits"] for block in blocks])


@contextmanager
def torch_network(task: Problem, threads: int) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Lines to answers, as ``bench_torch.py`` explains; a process of its own."""
    config = json.dumps(dataclasses.asdict(task.model.config))
    tensors = {f"params/{name}": value for name, value in files.flatten(task.model.params).items()}
    tensors |= {f"ids/{i}": ids.reshape(-1, ids.shape[-2]) for i, ids in enumerate(task.support.ids.values())}
    tensors |= {"gates": task.gates, "video": task.model.preprocessing.normalise(task.clips.video[0])}
    with tempfile.TemporaryDirectory() as folder:
        files.save_safetensors(Path(folder) / "network.safetensors", tensors, {"config": config})
        command = [sys.executable, str(Path(__file__).with_name("bench_torch.py")), folder, str(threads)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None

        def line() -> str:
            text = process.stdout.readline()  # type: ignore[union-attr]
            if not text:
                raise SystemExit(f"bench.py: the torch process ended early, with exit status {process.wait()}")
            return text

        def ask(question: str) -> dict[str, Any]:
            print(question, file=process.stdin, flush=True)
            return json.loads(line())

        try:
            line()
            yield ask
        finally:
            process.stdin.close()
            process.wait()


def difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest magnitude."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def measure_forward(settings: Forward) -> dict[str, Any]:
    """All that ``forward`` prints, times in seconds per masked clip, rates in operations per second."""
    n = settings.masks
    task = problem(settings.config, settings.concepts, (settings.pairs + 1) * n)
    size = 64 if settings.tiny else 2048
    rate = matmul_rate(size)
    ours, rates = [], []
    found = [engine_logits(task, 0, n)]  # compiles

    def turn(pair: int) -> None:
        rates.append(rate())
        ours.append(seconds(lambda: found.append(engine_logits(task, pair * n, (pair + 1) * n))) / n)

    torch = torch_rate = None
    if importlib.util.find_spec("torch") is None:
        for pair in range(1, settings.pairs + 1):
            turn(pair)
    else:
        with torch_network(task, settings.threads) as ask:
            answers = [ask(f"0 {n}")]
            torch_rate = ask(f"rate {size}")["rate"]
            for pair in range(1, settings.pairs + 1):
                turn(pair)
                answers.append(ask(f"{pair * n} {(pair + 1) * n}"))
        torch = [answer["seconds"] / n for answer in answers[1:]]
    counted = operations(settings.config)
    result = {
        "network": "tiny" if settings.tiny else f"ViT-{settings.size}",
        "threads": settings.threads,
        "masks_per_timing": n,
        "concepts": task.support.concepts,
        "operations": counted,
        "matmul_rate": median(rates),
        "ours": ours,
        "floor": counted["clip"] / median(rates),
        "share": median(counted["clip"] / (s * r) for s, r in zip(ours, rates, strict=True)),
        "torch": torch,
        "torch_matmul_rate": torch_rate,
        "attention": measure_attention(settings),
    }
    if torch is not None:
        result["ratios"] = [b / a for a, b in zip(ours, torch, strict=True)]
        result["difference"] = max(difference(a, np.asarray(b["logits"])) for a, b in zip(found, answers, strict=True))
        result["masks_matter"] = difference(found[1], found[0])
    return result


def unfused(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Attention as written in the papers. query, key, value [batch, token, head, channel] -> the same."""
    products = jnp.einsum("brhc,bthc->bhrt", query * query.shape[-1] ** -0.5, key)
    return jnp.einsum("bhrt,bthc->brhc", jax.nn.softmax(products, axis=-1), value)


def measure_attention(settings: Forward) -> dict[str, Any]:
    """One layer's attention, [1, token, head, channel], three ways, by turns: seconds and ratios to ours."""
    config = settings.config
    shape = (1, int(np.prod(config.grid)), config.num_heads, config.width // config.num_heads)
    parts = [jax.random.normal(jax.random.key(i), shape) for i in range(3)]
    ways = {"ours": attend, "unfused": unfused, "dot_product_attention": jax.nn.dot_product_attention}
    compiled = {name: jax.jit(way).lower(*parts).compile() for name, way in ways.items()}
    outputs = {name: np.asarray(run(*parts)) for name, run in compiled.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(2 * settings.pairs):
        for name, run in compiled.items():
            jax.block_until_ready(run(*parts))  # so that none pays for the memory that the one before gave back
            times[name].append(seconds(lambda run=run: run(*parts), 4))
    result: dict[str, Any] = {"shape": shape, **{name: median(spent) for name, spent in times.items()}}
    for name in ("unfused", "dot_product_attention"):
        result[f"{name}_ratio"] = median(b / a for a, b in zip(times["ours"], times[name], strict=True))
        result[f"{name}_difference"] = difference(outputs["ours"], outputs[name])
    return result


def print_forward(r: dict[str, Any]) -> None:
    giga, attention = 1e9, r["attention"]
    print(f"{r['network']}, float32, {r['threads']} threads, {r['concepts']} concepts, {len(r['ours'])} pairs")
    print(f"  counted                {r['operations']['clip'] / giga:8.3g} GFLOP per clip")
    print(f"  matrix product         {r['matmul_rate'] / giga:8.3g} GFLOP/s, so a floor of {r['floor']:.3g} s per clip")
    print(f"  ours                   {median(r['ours']):8.3g} s per masked clip, {r['share']:.0%} of that rate")
    if r["torch"] is None:
        print(f"  {TORCH}")
    else:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in r["ratios"])
        rate = f"its own matrix product: {r['torch_matmul_rate'] / giga:.3g} GFLOP/s"
        print(f"  torch, as released     {median(r['torch']):8.3g} s per masked clip ({rate})")
        print(f"  ratio                  {median(r['ratios']):8.2f} (pair by pair: {ratios})")
        print(f"  difference of logits   {r['difference']:8.1e} (from mask to mask: {r['masks_matter']:.1e})")
    print(f"attention alone, {list(attention['shape'])}")
    print(f"  ours                   {attention['ours'] * 1e3:8.3g} ms")
    for name, label in (("unfused", "unfused, jax"), ("dot_product_attention", "jax.nn")):
        print(f"  {label:22} {attention[name] * 1e3:8.3g} ms, ratio {attention[name + '_ratio']:.2f}")


def measure_memory(settings: Memory) -> dict[str, Any]:
    """Runs CRIS on one clip; the peak is that of this whole process, in bytes."""
    task = problem(settings.config, settings.concepts, 2)
    before = peak_memory()
    begun = time.perf_counter()
    found = cris(
        task.model, task.clips, concepts_of(task, settings.concepts), masks=settings.masks, key=jax.random.key(1)
    )
    return {
        "network": "tiny" if settings.tiny else f"ViT-{settings.size}",
        "masks": settings.masks,
        "concepts": len(found.importance),
        "seconds": time.perf_counter() - begun,
        "before": before,
        "peak": peak_memory(),
    }


def peak_memory() -> int:
    """Bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def print_memory(r: dict[str, Any]) -> None:
    print(f"CRIS, {r['network']}, one clip, {r['masks']} masks, {r['concepts']} concepts: {r['seconds']:.1f} s")
    print(f"  peak memory {r['peak'] / 2**30:.2f} GiB (network and clip alone: {r['before'] / 2**30:.2f})")


def pin(threads: int) -> None:
    """Restricts this process, and those that it starts, to ``threads`` cores. Before jax makes its threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main(settings: Forward | Memory) -> int:
    """Measures, prints; the exit status: 1 where the two networks do not agree."""
    result = measure_forward(settings) if isinstance(settings, Forward) else measure_memory(settings)
    if settings.json:
        print(json.dumps(result))
    elif isinstance(settings, Forward):
        print_forward(result)
    else:
        print_memory(result)
    if result.get("difference", 0.0) < TOLERANCE:
        return 0
    print(f"bench.py: the logits differ by {result['difference']:.1e}, at most {TOLERANCE:.0e} is due", file=sys.stderr)
    return 1


if __name__ == "__main__":
    chosen = tyro.cli(Forward | Memory, description=__doc__)
    pin(chosen.threads)
    sys.exit(main(chosen))
