"""The torch part of ``bench.py``: a process that loads a network and runs it on request.

    python scripts/bench_torch.py THREADS

It prints "ready", then answers each line of its input, a JSON list, with a line of JSON:

    ["load", FILE, DTYPE]    {}: takes the network of a safetensors file in place of the one before. The file holds our
                             parameters as ``params/…`` and the inputs as ``inputs/…`` in our layouts; its metadata the
                             ``network`` (a key of ``NETWORKS``) and its ``config``; for masked passes also ``gates``
                             [mask, concept] and per block ``ids/i`` int32 [token, head]. It computes with DTYPE,
                             "float32" or "bfloat16"
    ["rate", SIZE, DTYPE]    {"rate": operations per second of a square matrix product}
    ["run", REPEATS]         {"seconds": of these passes together}
    ["save", FILE]           {}: writes the results of a pass, in the layouts of our ``Output``
    ["masks", START, STOP]   {"seconds": of these masked passes together, "logits": [mask, class]}

No gradients, batch 1. What VTCD's released code does between two masked passes (drawing concepts, reloading the hooks)
is left out of the time.
"""

# pyright: reportMissingImports=false
# (torch is an extra, which the type checker may have to do without)

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch_networks import clip, timesformer, videomae
from torch_networks.layers import within
from torch_networks.masking import hook_blocks

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "videomae-classifier": videomae.Classifier,
    "videomae-pretrain": videomae.Autoencoder,
    "timesformer": timesformer.Classifier,
    "tcow": timesformer.Seeker,
    "clip": clip.CLIP,
    "internvideo-mm": clip.InternVideo,
    "viclip": clip.ViCLIP,
    "text": clip.TextTower,
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Loaded:
    """A network, its inputs, and the concepts that its hooks remove for each row of ``gates``."""

    network: nn.Module
    inputs: dict[str, Tensor]
    gates: Tensor | None
    set_gates: Callable[[Tensor], None] | None


def load(path: str, dtype: str = "float32") -> Loaded:
    with safe_open(path, "pt") as source:
        about = source.metadata()
        tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118  # not iterable itself
    network = NETWORKS[about["network"]](within(tensors, "params"), json.loads(about["config"])).eval()
    network.to(DTYPES[dtype])
    inputs = {
        name: a.to(DTYPES[dtype]) if a.is_floating_point() else a for name, a in within(tensors, "inputs").items()
    }
    if "video" in inputs:
        inputs["video"] = inputs["video"].permute(0, 4, 1, 2, 3).contiguous()
    if "query" in inputs:
        inputs["query"] = inputs["query"][:, None]
    ids = within(tensors, "ids")
    set_gates = hook_blocks(network, [ids[str(i)] for i in range(len(ids))]) if ids else None  # type: ignore[arg-type]
    return Loaded(network, inputs, tensors.get("gates"), set_gates)


def run(loaded: Loaded, repeats: int) -> dict[str, Any]:
    begun = time.perf_counter()
    for _ in range(repeats):
        loaded.network(loaded.inputs)
    return {"seconds": time.perf_counter() - begun}


def run_masks(loaded: Loaded, start: int, stop: int) -> dict[str, Any]:
    assert loaded.gates is not None and loaded.set_gates is not None
    seconds, logits = 0.0, []
    for row in loaded.gates[start:stop]:
        loaded.set_gates(row)
        begun = time.perf_counter()
        result = loaded.network(loaded.inputs)["logits"]
        seconds += time.perf_counter() - begun
        logits.append(result[0].tolist())
    return {"seconds": seconds, "logits": logits}


def matmul_rate(size: int, dtype: str = "float32", repeats: int = 8) -> float:
    square = torch.randn(size, size).to(DTYPES[dtype])
    for _ in range(2):
        begun = time.perf_counter()
        for _ in range(repeats):
            torch.matmul(square, square)
    return 2 * size**3 * repeats / (time.perf_counter() - begun)


def serve() -> None:
    """Answers the lines of standard input."""
    loaded = None
    print("ready", flush=True)
    for line in sys.stdin:
        word, *rest = json.loads(line)
        answer = {}
        if word == "rate":
            answer = {"rate": matmul_rate(*rest)}
        elif word == "load":
            loaded = None  # before the next one takes its memory
            loaded = load(*rest)
        else:
            assert loaded is not None, f"{word} before load"
            if word == "save":
                save_file({name: a.contiguous() for name, a in loaded.network(loaded.inputs).items()}, *rest)
            else:
                answer = {"run": run, "masks": run_masks}[word](loaded, *rest)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    with torch.no_grad():
        serve()
