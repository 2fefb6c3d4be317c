"""What a run will cost, before it runs: passes, memory, time.

Every stage is measured once on a small piece, with as many concepts as the number-of-concepts rule can choose: one
block of masked passes is compiled and timed, one head of one clip segmented, one layer of random tubelets factorised
for a few steps, one clip of the report drawn. The rest is arithmetic, so the plan bounds a run from above.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.ablation.chunks import call_memory
from vtcd_jax.ablation.engine import block_size, make_passes
from vtcd_jax.ablation.inputs import arguments_of, donors
from vtcd_jax.ablation.masked_pass import run_block
from vtcd_jax.concepts import concept_sites, slic
from vtcd_jax.concepts.clustering.number_of_concepts import choose_numbers, head_keys
from vtcd_jax.concepts.dictionaries import fit_heads
from vtcd_jax.concepts.proposals import check_sites, threads_of, volume_size
from vtcd_jax.concepts.tubelets.pooling import pool
from vtcd_jax.data.encode import encode_video
from vtcd_jax.devices.dispatch import at_once
from vtcd_jax.importance import Support
from vtcd_jax.importance.curves import removal_counts
from vtcd_jax.models import sites
from vtcd_jax.report.overlays import colour_of, display, overlay

from .settings import RunSettings
from .sources import Prepared

CLIPS_PER_CARD = 6
# Room for what is not measured: a machine that is a little busier, and seconds to start, predict, read and write.
SLACK, STARTING = 1.15, 15.0


@dataclass(frozen=True)
class Plan:
    """passes: masked forward passes.  concepts: the largest possible number.  chunk: masks that run together.

    pass_seconds, segment_seconds: of one pass, of one head of one clip.  stages: seconds of each stage with as many
    concepts as there can be, without slack.  memory: bytes of the compiled block with its parameters, beside what
    Python and JAX take.
    """

    clips: int
    held_out: int
    concepts: int
    passes: int
    chunk: int
    pass_seconds: float
    segment_seconds: float
    stages: dict[str, float]
    memory: int

    @property
    def seconds(self) -> float:
        """An upper bound for the whole run."""
        return STARTING + SLACK * sum(self.stages.values())

    def lines(self) -> list[str]:
        return [
            f"clips      {self.clips} ranked, {self.held_out} held out",
            f"concepts   at most {self.concepts}",
            f"passes     {self.passes:,} masked, {self.pass_seconds * 1e3:.1f} ms each, chunk {self.chunk}",
            f"tubelets   {self.segment_seconds * 1e3:.1f} ms per clip and head",
            f"memory     {math.ceil(self.memory / 2**20):,} MiB for the compiled passes and parameters",
            f"stages     {', '.join(f'{name} {_duration(s)}' for name, s in self.stages.items())}",
            f"time       at most {_duration(self.seconds)}",
        ]


def plan(settings: RunSettings, prepared: Prepared) -> Plan:
    """Measures a piece of every stage; writes nothing."""
    model, clips = prepared.model, prepared.clips
    names = concept_sites(model, settings.site)
    shapes = {name: sites(model)[name].shape for name in names}
    heads = sum(shape[4] for shape in shapes.values())
    concepts = heads * settings.nmf.elbow.largest
    support = Support(stand_in(shapes, settings.nmf.elbow.largest), concepts)
    chunk, compiling, pass_seconds, memory = _time_block(settings, prepared, support)
    segment_seconds = _time_segment(settings, prepared, names[0])
    held_out = 0 if prepared.held_out is None else len(prepared.held_out)
    steps = len(removal_counts(concepts, settings.steps))
    curve_rows = (2 + settings.repeats) * steps
    curve_passes = (held_out or len(clips)) * curve_rows
    per_clip = min(settings.masks, concepts) if settings.design_name == "leave-one-out" else settings.masks
    rank_passes = len(clips) * (per_clip + 1)
    control_passes = 0
    if settings.control_masks:
        control_passes = len(clips) * min(per_clip, settings.control_masks) + (held_out or len(clips)) * steps
    stages = {
        "compiling": 4 * compiling,  # features, untouched clips, ranking, curves
        "tubelets": (len(clips) + held_out) * heads * segment_seconds,
        "concepts": _time_factorise(settings, shapes[names[0]], len(clips), len(names)),
        "ranking": rank_passes * pass_seconds,
        "curves": curve_passes * pass_seconds,
        "control": control_passes * pass_seconds,
        "report": settings.top * min(CLIPS_PER_CARD, len(clips)) * _time_overlay(prepared),
    }
    passes = rank_passes + curve_passes + control_passes
    return Plan(len(clips), held_out, concepts, passes, chunk, pass_seconds, segment_seconds, stages, memory)


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def stand_in(shapes: dict[str, tuple[int, ...]], largest: int) -> dict[str, np.ndarray]:
    """Token ids of one clip in which every head has as many concepts as it can."""
    ids, begun = {}, 0
    for name, (_, t, h, w, heads, _) in shapes.items():
        tokens = np.arange(t * h * w).reshape(t, h, w, 1) % largest
        ids[name] = (begun + tokens + largest * np.arange(heads)).astype(np.int32)[None, ..., None]
        begun += heads * largest
    return ids


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - begun


def _time_block(settings: RunSettings, prepared: Prepared, support: Support) -> tuple[int, float, float, int]:
    """(chunk, seconds to compile, seconds per masked pass, bytes) of the compiled block, measured on a few passes."""
    few = [0, int(donors(prepared.clips)[0])] if settings.mode == "resample" else [0]  # and the clip it takes values of
    support = support[[0] * len(few)]
    arguments = arguments_of(prepared.model, prepared.clips[few], support, prepared.targets[few], settings.mode)
    passes = make_passes(
        arguments, settings.masks, score=prepared.scores, mode=settings.mode, chunk=settings.chunk,
        dtype=settings.precision,
    )  # fmt: skip
    rows = min(block_size(settings.masks), max(2, passes.chunk))
    gates = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, rows, support.concepts)), jnp.float32)
    call = (passes, prepared.model, arguments.of([0]), gates)

    def block() -> Any:
        return run_block(*call)

    count = at_once()
    with ThreadPoolExecutor(count) as threads:

        def several() -> Any:  # as many side by side as in a run
            return list(threads.map(lambda _: jax.block_until_ready(block()), range(count)))

        first, alone, again = _seconds(block), _seconds(block), [_seconds(several) for _ in range(3)]
    memory = call_memory(run_block.lower(*call).compile(), count)
    return passes.chunk, max(first - alone, 0.0), sorted(again)[1] / count / rows, memory


def _time_segment(settings: RunSettings, prepared: Prepared, name: str) -> float:
    """Seconds of SLIC and pooling per head and clip, on random features, as many sites at a time as in a run."""
    model, config = prepared.model, settings.slic
    grid, heads = check_sites(model, (name,))
    shape = (heads[name], *grid, sites(model)[name].shape[-1])
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    size = volume_size(model, grid, config)

    def one(_: int) -> Any:
        labels = slic(features, n_segments=config.n_segments, compactness=config.compactness, size=size)
        return [pool(volume, own) for volume, own in zip(features, labels, strict=True)]

    one(0)  # loads and compiles
    with ThreadPoolExecutor(threads_of(None)) as threads:
        count = threads_of(None)
        return _seconds(lambda: list(threads.map(one, range(count)))) / count / heads[name]


def _time_factorise(settings: RunSettings, shape: tuple[int, ...], clips: int, layers: int, steps: int = 20) -> float:
    """Seconds of counting and factorising all layers: compiled once, a few steps timed, all steps assumed."""
    heads, channels, nmf = shape[4], shape[5], settings.nmf
    samples = -(-clips * settings.slic.n_segments // 16) * 16
    X = np.random.default_rng(0).normal(size=(heads, samples, channels)).astype(np.float32)
    concepts = min(nmf.elbow.largest, samples)
    numbers = np.full(heads, concepts, np.int32)
    labels = np.tile(np.arange(samples) % concepts, (heads, 1)).astype(np.int32)

    def count() -> Any:
        mask, keys = np.ones((heads, samples), bool), head_keys(jax.random.key(0), heads)
        return choose_numbers(X, mask, keys, nmf.elbow, restarts=nmf.restarts, kmeans_steps=nmf.kmeans_steps)

    def factorise() -> Any:
        own = {"method": nmf.method, "active": nmf.active, "form": nmf.form}
        return fit_heads(np.abs(X), labels, numbers, concepts=concepts, max_steps=steps, tol=0.0, **own).codes

    counting, compiling, fitting = _seconds(count), _seconds(factorise), _seconds(factorise)
    # Refits are as many with other seeds as with other clips; each counts with a single number of clusters.
    fits = layers * (1 + 2 * nmf.refits)
    return counting + (layers - 1) * _seconds(count) + compiling + fits * fitting * nmf.max_steps / steps


def _time_overlay(prepared: Prepared) -> float:
    """Seconds of colouring and encoding one clip of the report."""
    frames = prepared.clips.video[0]
    mask = np.zeros(frames.shape[:3], bool)
    mask[:, : frames.shape[1] // 2] = True

    def draw() -> None:
        encode_video(overlay(*display(frames, mask), colour_of(0)))

    draw()  # loads the encoder
    return _seconds(draw)
