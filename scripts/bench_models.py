"""Measurement of ``bench.py models``: one pass of each published network on one clip, and of the same network in torch.

Weights and clip are random, every bias too, so that one in the wrong place shows. Video-text networks get their text
features; the text tower is measured by itself. Each network has its own processes, so that none is affected by the
memory that the one before gave back.

    params   nested dict of arrays, of our names
    inputs   the fields of ``Inputs`` that the network needs, or ``text`` alone for the text tower
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
from bench_tools import Ask, difference, has_torch, matmul_rate, seconds, torch_process, without_torch
from safetensors.numpy import load_file

from vtcd_jax.base import files
from vtcd_jax.models import Inputs, build, example_inputs, forward, macs, nearest, param_shapes
from vtcd_jax.models.families import clip, internvideo, tcow, timesformer, viclip, videomae
from vtcd_jax.models.language.text import TextTower
from vtcd_jax.models.taps import Tap

SENTENCES = 14
TURN = 0.5  # seconds that a turn takes at least


@dataclass(frozen=True)
class Text:
    """The text tower of a video-text network; config: that network's."""

    config: clip.CLIPConfig


PUBLISHED: dict[str, Any] = {
    "VideoMAE-S": videomae.classifier_config("S"),
    "VideoMAE-B": videomae.classifier_config("B"),
    "VideoMAE-L": videomae.classifier_config("L"),
    "VideoMAE-H": videomae.classifier_config("H"),
    "VideoMAE-B autoencoder": videomae.pretrain_config("B"),
    "VideoMAE-L autoencoder": videomae.pretrain_config("L"),
    "TimeSformer-B": timesformer.classifier_config("B"),
    "TimeSformer-HR": timesformer.classifier_config("HR"),
    "TimeSformer-L": timesformer.classifier_config("L"),
    "TCOW": tcow.tcow_config(12),
    "InternVideo-MM-B/16": internvideo.config("B/16", num_frames=16, pseudo_clips=2),
    "InternVideo-MM-L/14": internvideo.config("L/14"),
    "ViCLIP-B/16": viclip.config("B/16"),
    "ViCLIP-L/14": viclip.config("L/14"),
    "CLIP-B/16": clip.config("B/16"),
    "CLIP-L/14": clip.config("L/14"),
    "CLIP-B/16 text": Text(clip.config("B/16")),
}

_BLOCKS: dict[str, Any] = {"width": 24, "depth": 1, "num_heads": 2, "patch_size": 8}
_SQUARE: dict[str, Any] = {"image_size": 16, **_BLOCKS}
_DEEP: dict[str, Any] = _SQUARE | {"depth": 2}
_TEXT: dict[str, Any] = {
    "embed_dim": 12, "context_length": 6, "vocab_size": 20, "end_token": 19, "text_width": 16, "text_depth": 1,
    "text_num_heads": 2,
}  # fmt: skip
TOYS: dict[str, Any] = {
    "VideoMAE": videomae.VideoMAEConfig(num_frames=6, num_classes=5, **_SQUARE),
    "VideoMAE autoencoder": videomae.VideoMAEPretrainConfig(
        num_frames=6, decoder_width=16, decoder_depth=1, decoder_num_heads=2, **_SQUARE
    ),
    "TimeSformer": timesformer.TimeSformerConfig(num_frames=3, num_classes=5, **_DEEP),
    "TCOW": tcow.TCOWConfig(image_height=16, image_width=32, num_frames=3, mask_stride=2, **_BLOCKS),
    "InternVideo-MM": internvideo.InternVideoConfig(
        num_frames=6, pseudo_clips=2, extractor_blocks=(0, 1), **_DEEP, **_TEXT
    ),
    "ViCLIP": viclip.ViCLIPConfig(num_frames=3, **_SQUARE, **_TEXT),
    "CLIP": clip.CLIPConfig(**_SQUARE, **_TEXT),
    "CLIP text": Text(clip.CLIPConfig(**_SQUARE, **_TEXT)),
}


@dataclass(frozen=True)
class Models:
    """Seconds per clip of every published network, and of torch."""

    only: tuple[str, ...] = ()
    """Names of networks; by default all."""
    pairs: int = 5
    """Timed pairs."""
    tiny: bool = False
    """Small networks of every family instead, for tests."""
    threads: int = 2
    """Cores to use."""
    json: bool = False
    """Print one JSON object."""

    def networks(self) -> dict[str, Any]:
        """Raises SystemExit for an unknown name."""
        known = TOYS if self.tiny else PUBLISHED
        for name in self.only:
            if name not in known:
                raise SystemExit(f"bench.py: there is no network {name!r}; nearest: {nearest(name, known)}")
        return {name: known[name] for name in self.only or known}


@dataclass(frozen=True)
class Task:
    """One network as both halves run it. network, config: what ``bench_torch.py`` builds it from."""

    network: str
    config: Any
    params: dict[str, Any]
    inputs: dict[str, jax.Array]

    def run(self, params: Any, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Our half: the results by name."""
        if self.network == "text":
            features = TextTower(self.config).apply({"params": params}, inputs["text"], Tap({}, ()))
            return {"text_features": features}  # type: ignore[dict-item]  # apply is untyped
        output = forward(build(self.config, params=params), Inputs(**inputs))[0]
        found = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
        return {name: value for name, value in found.items() if value is not None and name not in inputs}

    def save(self, path: Path) -> None:
        """Everything that the torch half needs."""
        tensors = {f"params/{name}": value for name, value in files.flatten(self.params).items()}
        tensors |= {f"inputs/{name}": value for name, value in self.inputs.items()}
        about = {"network": self.network, "config": json.dumps(dataclasses.asdict(self.config))}
        files.save_safetensors(path, tensors, about)


def task_of(network: Any) -> Task:
    """network: a config, or ``Text``."""
    rng = np.random.default_rng(0)
    config = network.config if isinstance(network, Text) else network
    shapes = param_shapes(config)
    inputs = random_inputs(config, rng)
    if isinstance(network, Text):
        return Task("text", config, random_params(shapes["text"], rng), {"text": inputs["text"]})
    inputs.pop("text", None)
    video = {name: below for name, below in shapes.items() if name != "text"}
    return Task(config.family, config, random_params(video, rng), inputs)


def random_params(shapes: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Kernels scaled by fan-in, scales of norms about 1, all else about 0."""
    drawn = {}
    for name, shape in files.flatten(shapes).items():
        spread = 1 / math.sqrt(math.prod(shape.shape[:-1])) if name.endswith("kernel") else 0.02
        value = np.float32(spread) * rng.standard_normal(shape.shape, np.float32)
        drawn[name] = jax.device_put(value + np.float32(name.endswith("scale")))
    return files.unflatten(drawn)


def random_inputs(config: Any, rng: np.random.Generator) -> dict[str, jax.Array]:
    """One clip of noise, and where the network needs them a query in its first frame, sentences, their features."""
    shapes = example_inputs(build(config, params={}))
    inputs: dict[str, np.ndarray] = {"video": rng.standard_normal(shapes.video.shape, np.float32)}
    if shapes.query is not None:
        inputs["query"] = np.zeros(shapes.query.shape, np.float32)
        inputs["query"][:, 0, 2:9, 3:11] = 1
    if shapes.text is not None:
        text = rng.integers(1, config.end_token, (SENTENCES, config.context_length)).astype(np.int32)
        text[np.arange(SENTENCES), rng.integers(3, config.context_length, SENTENCES)] = config.end_token
        inputs["text"] = text
        inputs["text_features"] = rng.standard_normal((SENTENCES, config.embed_dim), np.float32)
    return {name: jax.device_put(value) for name, value in inputs.items()}


def measure(name: str, network: Any, settings: Models, ask: Ask | None) -> dict[str, Any]:
    """Times in seconds per clip, rates in operations per second. ask: of the torch process; None without torch."""
    task = task_of(network)
    operations = 2 * macs.count(jax.make_jaxpr(task.run)(task.params, task.inputs).jaxpr)
    compiled = jax.jit(task.run).lower(task.params, task.inputs).compile()
    run = lambda: compiled(task.params, task.inputs)  # noqa: E731
    found = {field: np.asarray(value) for field, value in run().items()}
    differences = {} if ask is None else compare(task, found, ask)
    repeats = 1 if settings.tiny else max(1, math.ceil(TURN / seconds(run)))
    rate = matmul_rate(64 if settings.tiny else 2048)
    rates, ours, torch = [], [], []
    for _ in range(settings.pairs):
        rates.append(rate())
        ours.append(seconds(run, repeats))
        if ask is not None:
            torch.append(ask("run", repeats)["seconds"] / repeats)
    return {
        "network": name,
        "operations": operations,
        "matmul_rate": median(rates),
        "repeats": repeats,
        "ours": ours,
        "share": median(operations / (s * r) for s, r in zip(ours, rates, strict=True)),
        "torch": torch or None,
        "ratios": [b / a for a, b in zip(ours, torch, strict=True)] if torch else None,
        "differences": differences,
    }


def compare(task: Task, found: dict[str, np.ndarray], ask: Ask) -> dict[str, float]:
    """Loads the network into the torch process; how far its results are from ours, by name."""
    with tempfile.TemporaryDirectory() as folder:
        task.save(Path(folder) / "network.safetensors")
        ask("load", f"{folder}/network.safetensors")
        ask("save", f"{folder}/results.safetensors")
        expected = load_file(f"{folder}/results.safetensors")
    if {k: a.shape for k, a in found.items()} != {k: a.shape for k, a in expected.items()}:
        raise SystemExit(f"bench.py: the halves of {task.network} give results of different names or shapes")
    return {name: difference(found[name], expected[name]) for name in found}


def measured(settings: Models) -> Iterator[dict[str, Any]]:
    """A row for each network, in separate processes for several real networks."""
    networks = settings.networks()
    if len(networks) > 1 and not settings.tiny:
        yield from (measured_apart(name, settings) for name in networks)
    elif not has_torch():
        yield from (measure(name, network, settings, None) for name, network in networks.items())
    else:
        with torch_process(settings.threads) as ask:
            yield from (measure(name, network, settings, ask) for name, network in networks.items())


def measured_apart(name: str, settings: Models) -> dict[str, Any]:
    """The row of one network, measured by another process of this command."""
    script = str(Path(__file__).with_name("bench.py"))
    numbers = ["--pairs", str(settings.pairs), "--threads", str(settings.threads)]
    command = [sys.executable, script, "models", "--only", name, *numbers, "--json"]
    # Different results set the exit status too, and are reported in the row.
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if not process.stdout:
        raise SystemExit(f"bench.py: {name} was not measured, its process ended with status {process.returncode}")
    return json.loads(process.stdout)["networks"][0]


def measure_models(settings: Models) -> dict[str, Any]:
    """All rows, each printed as soon as it is known (unless as JSON at the end), and the largest difference."""
    rows = []
    if not settings.json:
        print(f"float32, batch 1, {settings.threads} threads, medians of {settings.pairs} pairs")
        print(f"{'':22} {'GFLOP':>8} {'ours, s':>9} {'torch, s':>9} {'ratio':>6}  (lowest, highest) share difference")
    for row in measured(settings):
        rows.append(row)
        if not settings.json:
            print_row(row)
    worst = float(np.max([value for row in rows for value in row["differences"].values()], initial=0.0))
    if not settings.json and not has_torch():
        print(without_torch("models"))
    return {"threads": settings.threads, "networks": rows, "difference": worst}


def print_row(row: dict[str, Any]) -> None:
    """share: fraction of a plain matrix product's rate that our part reaches."""
    ours = f"{row['network']:22} {row['operations'] / 1e9:8.3g} {median(row['ours']):9.3g}"
    if row["torch"] is None:
        print(f"{ours} {'':35} {row['share']:5.0%}", flush=True)
        return
    ratios = f"{median(row['ratios']):6.2f}  ({min(row['ratios']):6.2f}, {max(row['ratios']):7.2f})"
    worst = f"{np.max(list(row['differences'].values())):10.1e}"
    print(f"{ours} {median(row['torch']):9.3g} {ratios} {row['share']:5.0%} {worst}", flush=True)
