"""How fast the masked forward pass is, and how much memory CRIS takes, measured on this machine.

    python scripts/bench.py forward              seconds per masked clip, and of the same network in torch
    python scripts/bench.py forward --size S     another published size; --json for machines
    python scripts/bench.py models               seconds per clip of every published network, and of torch
    python scripts/bench.py importance           masked clips per second of the engine on this device, and its fraction
    of the peak python scripts/bench.py slic                 SLIC volumes per second, and of scikit-image python
    scripts/bench.py factorise            convex NMF of all heads of a network, and the released code python
    scripts/bench.py memory --masks 64    peak memory of every stage

Two things are compared by turns (A B A B …), each pair giving one ratio, so that a busy machine harms both alike. The
torch side (``bench_torch.py``) is a separate process with the same weights and clip, and it must give the same
results. In ``forward`` ours goes through the importance engine, with concepts over the keys of all layers and random
gates, and torch gets the same masks. The floor is the counted
arithmetic over the rate of a plain float32 matrix product, measured between the pairs.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import bench_memory as memory
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from bench_importance import Engine, measure_engine, print_engine
from bench_models import Models, measure_models
from bench_nmf import Factorise, measure_factorise, print_factorise
from bench_problem import TINY, Problem, operations, problem
from bench_slic import Slic, measure_slic, print_slic
from bench_tools import (
    TOLERANCE,
    Ask,
    Dtype,
    difference,
    has_torch,
    matmul_rate,
    pin,
    seconds,
    torch_process,
    without_torch,
)

from vtcd_jax.ablation.design import Explicit
from vtcd_jax.ablation.engine import score_blocks, tasks
from vtcd_jax.base import files
from vtcd_jax.models import Output
from vtcd_jax.models.attention import attend
from vtcd_jax.models.families import videomae
from vtcd_jax.scores.targets import Targets


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
    """Seconds per masked clip, of torch, of attention alone, and the fraction of the machine's rate."""

    pairs: int = 5
    """Timed pairs."""
    masks: int = 4
    """Masked passes per timing."""
    dtype: Dtype = "float32"
    """What ours computes with."""
    torch_dtype: Dtype = "float32"
    """What torch computes with; the released code has float32."""


@dataclass(frozen=True)
class Memory(Network):
    """Peak memory of every stage of a job."""

    clips: int = 2
    """Clips for discovery and ranking."""
    masks: int = 8


@cache
def logits(classes: int) -> dict[str, Callable[[Output, Any], jax.Array]]:
    """A score per class: its logit, [batch]."""

    def logit(output: Output, context: Any, number: int) -> jax.Array:
        assert output.logits is not None
        return output.logits[:, number]

    return {str(number): partial(logit, number=number) for number in range(classes)}


def engine_logits(task: Problem, dtype: Dtype, start: int, stop: int) -> np.ndarray:
    """[mask, class], by the importance engine."""
    rows = Explicit(task.gates[start:stop])
    todo, targets = tasks(rows, task.support.present()), Targets(task.clips.labels)
    scores = logits(task.model.config.num_classes)
    blocks = score_blocks(task.model, task.clips, task.support, rows, todo, score=scores, targets=targets, dtype=dtype)
    return np.concatenate([np.stack([block.scores[name] for name in scores], -1) for block in blocks])


def load_masked(task: Problem, ask: Ask, dtype: Dtype) -> None:
    """Loads network, clip, concepts and gates into the torch process."""
    model = task.model
    tensors = {f"params/{name}": value for name, value in files.flatten(model.params).items()}
    tensors |= {f"ids/{i}": ids.reshape(-1, ids.shape[-2]) for i, ids in enumerate(task.support.ids.values())}
    tensors |= {"gates": task.gates, "inputs/video": model.preprocessing.normalise(task.clips.video)}
    about = {"network": model.config.family, "config": json.dumps(dataclasses.asdict(model.config))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        files.save_safetensors(path, tensors, about)
        ask("load", str(path), dtype)


def measure_forward(settings: Forward) -> dict[str, Any]:
    """All that ``forward`` prints, times in seconds per masked clip, rates in operations per second."""
    n = settings.masks
    task = problem(settings.config, settings.concepts, (settings.pairs + 1) * n)
    size = 64 if settings.tiny else 2048
    rate, run = matmul_rate(size, settings.dtype), partial(engine_logits, task, settings.dtype)
    ours, rates = [], []
    found = [run(0, n)]  # compiles

    def turn(pair: int) -> None:
        rates.append(rate())
        ours.append(seconds(lambda: found.append(run(pair * n, (pair + 1) * n))) / n)

    torch = torch_rate = None
    if not has_torch():
        for pair in range(1, settings.pairs + 1):
            turn(pair)
    else:
        with torch_process(settings.threads) as ask:
            load_masked(task, ask, settings.torch_dtype)
            answers = [ask("masks", 0, n)]
            torch_rate = ask("rate", size, settings.torch_dtype)["rate"]
            for pair in range(1, settings.pairs + 1):
                turn(pair)
                answers.append(ask("masks", pair * n, (pair + 1) * n))
        torch = [answer["seconds"] / n for answer in answers[1:]]
    counted = operations(settings.config)
    result = {
        "network": "tiny" if settings.tiny else f"ViT-{settings.size}",
        "dtype": settings.dtype,
        "torch_dtype": settings.torch_dtype,
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
    """One layer's attention, [1, token, head, channel], three implementations in turn: seconds and ratios to ours."""
    config = settings.config
    shape = (1, int(np.prod(config.grid)), config.num_heads, config.width // config.num_heads)
    parts = [jax.random.normal(jax.random.key(i), shape) for i in range(3)]
    versions = {"ours": attend, "unfused": unfused, "dot_product_attention": jax.nn.dot_product_attention}
    compiled = {name: jax.jit(version).lower(*parts).compile() for name, version in versions.items()}
    outputs = {name: np.asarray(run(*parts)) for name, run in compiled.items()}
    times: dict[str, list[float]] = {name: [] for name in versions}
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
    print(f"{r['network']}, {r['dtype']}, {r['threads']} threads, {r['concepts']} concepts, {len(r['ours'])} pairs")
    print(f"  counted                {r['operations']['clip'] / giga:8.3g} GFLOP per clip")
    print(f"  matrix product         {r['matmul_rate'] / giga:8.3g} GFLOP/s, so a floor of {r['floor']:.3g} s per clip")
    print(f"  ours                   {median(r['ours']):8.3g} s per masked clip, {r['share']:.0%} of that rate")
    if r["torch"] is None:
        print(f"  {without_torch('forward')}")
    else:
        ratios = ", ".join(f"{ratio:.2f}" for ratio in r["ratios"])
        rate = f"its own matrix product: {r['torch_matmul_rate'] / giga:.3g} GFLOP/s"
        print(f"  torch, as released     {median(r['torch']):8.3g} s per masked clip ({r['torch_dtype']}; {rate})")
        print(f"  ratio                  {median(r['ratios']):8.2f} (pair by pair: {ratios})")
        print(f"  difference of logits   {r['difference']:8.1e} (from mask to mask: {r['masks_matter']:.1e})")
    print(f"attention alone, {list(attention['shape'])}")
    print(f"  ours                   {attention['ours'] * 1e3:8.3g} ms")
    for name, label in (("unfused", "unfused, jax"), ("dot_product_attention", "jax.nn")):
        print(f"  {label:22} {attention[name] * 1e3:8.3g} ms, ratio {attention[name + '_ratio']:.2f}")


def measure_memory(settings: Memory) -> dict[str, Any]:
    """Peaks of every stage of a small job."""
    network = "tiny" if settings.tiny else f"ViT-{settings.size}"
    return {"network": network, **memory.measure(settings.config, settings.concepts, settings.clips, settings.masks)}


def main(settings: Forward | Models | Memory | Engine | Slic | Factorise) -> int:
    """Measures, prints; the exit status: 1 where the two halves do not agree."""
    measures: dict[type, Any] = {
        Forward: measure_forward, Models: measure_models, Memory: measure_memory, Engine: measure_engine,
        Slic: measure_slic, Factorise: measure_factorise,
    }  # fmt: skip
    result = measures[type(settings)](settings)
    if settings.json:
        print(json.dumps(result))
    elif isinstance(settings, Forward):
        print_forward(result)
    elif isinstance(settings, Memory):
        memory.print_memory(result)
    elif isinstance(settings, Engine):
        print_engine(result)
    elif isinstance(settings, Slic):
        print_slic(result)
    elif isinstance(settings, Factorise):
        print_factorise(result)
    due = max(TOLERANCE[result.get(side, "float32")] for side in ("dtype", "torch_dtype"))
    if result.get("difference", 0.0) < due:
        return 0
    print(f"bench.py: the results differ by {result['difference']:.1e}, at most {due:.0e} is due", file=sys.stderr)
    return 1


if __name__ == "__main__":
    commands = Forward | Models | Memory | Slic | Factorise | Annotated[Engine, tyro.conf.subcommand("importance")]
    chosen = tyro.cli(commands, description=__doc__)
    pin(chosen.threads)
    sys.exit(main(chosen))
