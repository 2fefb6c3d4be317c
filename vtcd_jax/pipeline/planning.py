"""What a run will cost, before it runs: passes, memory, time.

One block of masked passes is compiled and timed with as many concepts as the number-of-concepts rule can choose; one
head of one clip is segmented and timed. The rest is arithmetic, so the plan bounds a run from above.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.concepts import SlicConfig, concept_sites, slic
from vtcd_jax.concepts.features import slic_size, upsample
from vtcd_jax.importance import Support, score_functions
from vtcd_jax.importance.curves import removal_counts
from vtcd_jax.importance.engine import block_size, clip_arguments, compiled_block, pick_chunk
from vtcd_jax.models import sites

from .settings import RunSettings
from .sources import Prepared


@dataclass(frozen=True)
class Plan:
    """passes: masked forward passes.  concepts: the largest possible number.  chunk: masks that run together.

    pass_seconds, segment_seconds: of one pass, of one head of one clip.  seconds: all stages, an upper bound.
    memory: bytes of the compiled block with its parameters, beside what Python and JAX take.
    """

    clips: int
    held_out: int
    concepts: int
    passes: int
    chunk: int
    pass_seconds: float
    segment_seconds: float
    seconds: float
    memory: int

    def lines(self) -> list[str]:
        return [
            f"clips      {self.clips} ranked, {self.held_out} held out",
            f"concepts   at most {self.concepts}",
            f"passes     {self.passes:,} masked, {self.pass_seconds * 1e3:.1f} ms each, chunk {self.chunk}",
            f"tubelets   {self.segment_seconds * 1e3:.1f} ms per clip and head",
            f"memory     {self.memory / 2**20:,.0f} MiB for the compiled passes and parameters",
            f"time       at most {self.seconds / 60:.1f} min",
        ]


def plan(settings: RunSettings, prepared: Prepared) -> Plan:
    """Compiles and times one block; writes nothing."""
    model, clips = prepared.model, prepared.clips
    names = concept_sites(model, settings.site)
    shapes = {name: sites(model)[name].shape for name in names}
    heads = sum(shape[4] for shape in shapes.values())
    concepts = heads * settings.nmf.elbow.largest
    support = Support(_stand_in(shapes, settings.nmf.elbow.largest), concepts)
    functions = score_functions(prepared.scores)
    size = block_size(settings.masks)
    chunk = settings.chunk or pick_chunk(model, clips[[0]], support, functions, size)
    pass_seconds, memory = _time_block(prepared, support, functions, chunk, size)
    segment_seconds = _time_segment(settings, prepared, names[0])
    held_out = 0 if prepared.held_out is None else len(prepared.held_out)
    curve_rows = (2 + settings.repeats) * len(removal_counts(concepts, settings.steps))
    passes = len(clips) * (settings.masks + 1) + (held_out or len(clips)) * curve_rows
    seconds = passes * pass_seconds + (len(clips) + held_out) * heads * segment_seconds
    return Plan(len(clips), held_out, concepts, passes, chunk, pass_seconds, segment_seconds, seconds, memory)


def _stand_in(shapes: dict[str, tuple[int, ...]], largest: int) -> dict[str, np.ndarray]:
    """Token ids of one clip in which every head has as many concepts as it can."""
    ids, begun = {}, 0
    for name, (_, t, h, w, heads, _) in shapes.items():
        tokens = np.arange(t * h * w).reshape(t, h, w, 1) % largest
        ids[name] = (begun + tokens + largest * np.arange(heads)).astype(np.int32)[None, ..., None]
        begun += heads * largest
    return ids


def _time_block(prepared: Prepared, support: Support, functions: dict, chunk: int, size: int) -> tuple[float, int]:
    """(seconds per masked pass, bytes) of the compiled block, measured on two to four passes."""
    rows = min(size, max(2, chunk))
    run = compiled_block(tuple(functions.items()), chunk)
    arguments = clip_arguments(prepared.clips, support, prepared.labels, 0)
    gates = jnp.asarray(np.random.default_rng(0).integers(0, 2, (rows, support.concepts)), jnp.float32)
    jax.block_until_ready(run(prepared.model, *arguments, gates))
    begun = time.perf_counter()
    repeats = 2
    for _ in range(repeats):
        jax.block_until_ready(run(prepared.model, *arguments, gates))
    seconds = (time.perf_counter() - begun) / (repeats * rows)
    analysis = run.func.lower(*run.args, prepared.model, *arguments, gates).compile().memory_analysis()
    memory = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return seconds, int(memory)


def _time_segment(settings: RunSettings, prepared: Prepared, name: str) -> float:
    """Seconds of upsampling and SLIC for one head of one clip, on random features."""
    model, config = prepared.model, settings.slic
    _, t, h, w, _, channels = sites(model)[name].shape
    features = np.random.default_rng(0).normal(size=(t, h, w, channels)).astype(np.float32)
    size = config.size or slic_size(model.preprocessing)
    begun = time.perf_counter()
    _segment(features, size, config)
    first = time.perf_counter() - begun
    if first > 1:
        return first
    begun = time.perf_counter()
    _segment(features, size, config)
    return time.perf_counter() - begun


def _segment(features: np.ndarray, size: tuple[int, int, int], config: SlicConfig) -> None:
    volume = upsample(features, size, config.upsample)
    slic(volume, n_segments=config.n_segments, compactness=config.compactness)
