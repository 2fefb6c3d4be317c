"""The one masked forward pass of the library.

    scores[name][video, mask] = score(network(clip with gates[mask] on its concepts))

A host loop walks over fixed, padded blocks of (clip, rows of gates); each block is one call of one compiled function,
with ``lax.map`` over its rows, ``chunk`` at a time. Memory grows with ``chunk`` alone; parameters are arguments, so
weights are not baked in. Everything of token size is made on the device from the gates [mask, concept].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.data import Clips
from vtcd_jax.models import InputError, Inputs, Model, forward

from .designs import Design, Explicit
from .score import Context, Score, default_scores, score_functions
from .support import Support, edits
from .targets import Targets

# Rows of gates per compiled call: enough that the host is never waited for, few enough for smooth progress.
BLOCK = 64


class Block(NamedTuple):
    """Scores of rows ``start`` to ``stop`` of one clip: name -> float32 [stop - start]."""

    video: int
    start: int
    stop: int
    scores: dict[str, np.ndarray]


def scores(
    model: Model,
    clips: Clips,
    support: Support,
    design: Design | np.ndarray,
    *,
    score: str | Sequence[str] | Mapping[str, Score] | None = None,
    targets: Targets | None = None,
    chunk: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Scores of masked passes: name -> float32 [video, mask].

    support:  where each concept lies in each clip, rows in the order of ``clips``.
    design:   which concepts each mask removes; an array [mask, concept] of gates is a design, the same for all clips.
    score:    names of ``SCORES`` or own functions by name, all from one pass; default: what fits the network.
    targets:  what each clip's score is about; default: its own class, ``clips.labels``.
    chunk:    rows run together; None picks one (1 on a CPU).
    progress: called with the number of passes done, block by block.
    """
    rows: Design = Explicit(np.asarray(design, np.float32)) if isinstance(design, np.ndarray) else design
    names = default_scores(model) if score is None else score
    out = {name: np.full((len(clips), rows.masks), np.nan, np.float32) for name in score_functions(names)}
    for block in score_blocks(model, clips, support, rows, score=names, targets=targets, chunk=chunk):
        for name, values in block.scores.items():
            out[name][block.video, block.start : block.stop] = values
        if progress is not None:
            progress(block.stop - block.start)
    return out


def score_blocks(
    model: Model,
    clips: Clips,
    support: Support,
    design: Design,
    *,
    score: str | Sequence[str] | Mapping[str, Score],
    targets: Targets | None = None,
    chunk: int | None = None,
    skip: Callable[[int, int], bool] = lambda video, start: False,
) -> Iterator[Block]:
    """The engine's loop, one block at a time; ``skip(video, start)`` leaves out blocks that are known already.

    Raises InputError when a score is not finite, naming the clip and the mask.
    """
    functions = score_functions(score)
    targets = Targets(clips.labels) if targets is None else targets
    present = support.present()
    size = block_size(design.masks)
    chunk = pick_chunk(model, clips, support, targets, functions, size) if chunk is None else checked_chunk(chunk, size)
    run = compiled_block(tuple(functions.items()), chunk)
    for video in range(len(clips)):
        starts = [s for s in range(0, design.masks, size) if not skip(video, s)]
        if not starts:
            continue
        clip = clip_arguments(clips, support, targets, video)
        for start in starts:
            stop = min(start + size, design.masks)
            rows = design.rows(clips.hashes[video], start, stop, present[video])
            padded = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")
            found = {n: np.asarray(v)[: stop - start] for n, v in run(model, clip, jnp.asarray(padded)).items()}
            _check_finite(found, clips.names[video], start)
            yield Block(video, start, stop, found)


def block_size(masks: int) -> int:
    """Rows of a compiled call."""
    return min(BLOCK, masks)


@struct.dataclass
class ClipArguments:
    """One clip's part of a compiled call; every array has a leading axis of one.

    pixels: uint8 RGB.  ids, weight: as in ``Support``.  label: int.  query, mask: [1, time, height, width] or None.
    """

    pixels: jax.Array
    ids: dict[str, jax.Array]
    weight: dict[str, jax.Array]
    label: jax.Array
    query: jax.Array | None
    mask: jax.Array | None


def clip_arguments(clips: Clips, support: Support, targets: Targets, video: int) -> ClipArguments:
    """What the compiled block takes of one clip."""
    ids, weight = support.of(video)

    def row(array: np.ndarray | None) -> jax.Array | None:
        return None if array is None else jnp.asarray(array[video : video + 1])

    label = jnp.asarray(np.asarray(targets.label, np.int32)[video : video + 1])
    return ClipArguments(
        jnp.asarray(clips.video[video : video + 1]), ids, weight, label, row(clips.query), row(targets.mask)
    )


@partial(jax.jit, static_argnums=(0, 1))
def _block(
    functions: tuple[tuple[str, Score], ...], chunk: int, model: Model, clip: ClipArguments, gates: jax.Array
) -> dict[str, jax.Array]:
    """Scores of one clip under a block of gates [mask, concept]: name -> [mask]."""
    p = model.preprocessing
    video = clip.pixels.astype(jnp.float32) / 255
    normalised = (video - jnp.asarray(p.mean, jnp.float32)) / jnp.asarray(p.std, jnp.float32)
    inputs = Inputs(normalised, query=None if clip.query is None else clip.query.astype(jnp.float32))
    context = Context(video, clip.label, clip.mask, model.config)

    def one(row: jax.Array) -> dict[str, jax.Array]:
        output, _ = forward(model, inputs, edits=edits(row, clip.ids, clip.weight))
        return {name: function(output, context)[0] for name, function in functions}

    return jax.lax.map(one, gates) if chunk == 1 else jax.lax.map(one, gates, batch_size=chunk)


def compiled_block(functions: tuple[tuple[str, Score], ...], chunk: int) -> Callable[..., dict[str, jax.Array]]:
    """(model, clip, gates) -> scores; compiled once per (network, clip shape, chunk)."""
    return partial(_block, functions, chunk)


def checked_chunk(chunk: int, size: int) -> int:
    if chunk < 1:
        raise InputError(f"--chunk {chunk} must be at least 1 (rows of masks that run together)")
    return min(chunk, size)


def pick_chunk(
    model: Model, clips: Clips, support: Support, targets: Targets, functions: Mapping[str, Score], size: int
) -> int:
    """1 on a CPU; elsewhere the smallest power of two within 3 % of the best measured rate that fits in memory."""
    if jax.default_backend() == "cpu":
        return 1
    clip = clip_arguments(clips, support, targets, 0)
    gates = jnp.ones((size, support.concepts), jnp.float32)
    seconds: dict[int, float] = {}
    chunk = 1
    while chunk <= size:
        run = compiled_block(tuple(functions.items()), chunk)
        try:
            jax.block_until_ready(run(model, clip, gates))
            begun = time.perf_counter()
            jax.block_until_ready(run(model, clip, gates))
            seconds[chunk] = time.perf_counter() - begun
        except jax.errors.JaxRuntimeError:  # does not fit in the device's memory
            break
        chunk *= 2
    best = min(seconds.values())
    return min(c for c, s in seconds.items() if s <= 1.03 * best)


def _check_finite(found: Mapping[str, np.ndarray], clip: str, start: int) -> None:
    for name, values in found.items():
        if not np.isfinite(values).all():
            mask = start + int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"score {name!r} of clip {clip!r} under mask {mask} is not finite; check the weights and the clip"
            )
