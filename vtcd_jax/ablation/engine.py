"""The loop of masked passes: fixed, padded blocks of (clip, rows of gates), one compiled call each.

A call of one compiled function (``masked_pass``) takes one block, or as many as the mesh has devices along its axis
``video``. Several calls run at the same time (``devices.dispatch``), so that no device waits for the host. Memory grows
with ``chunk``, and on a CPU with the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from vtcd_jax.ablation.design import Design
from vtcd_jax.data import ClipSource
from vtcd_jax.devices.dispatch import map_ordered, max_in_flight
from vtcd_jax.devices.mesh import axis_size, put
from vtcd_jax.devices.precision import resolved_dtype
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Work
from vtcd_jax.scores.functions import Scores, check_functions, score_functions
from vtcd_jax.scores.targets import Targets

from .chunks import pick_chunk
from .gates import padded_columns, rows_of
from .inputs import EngineInputs, build_inputs, donors
from .masked_pass import MASK, VIDEO, DeviceBatch, PassConfig, Result, run_block
from .support import MODES, Support

# Rows of gates that are computed and stored together: enough that no device waits, few enough for smooth progress.
BLOCK = 64
CHUNK: dict[Result, str] = {"scores": "chunk", "slopes": "slope_chunk"}  # names of the measured chunks in the store


class Block(NamedTuple):
    """Scores of rows ``start`` to ``stop`` of one clip: name -> float32 [stop - start], or their slopes: name ->
    float32 [stop - start, concept]."""

    video: int
    start: int
    stop: int
    scores: dict[str, np.ndarray]


def score_blocks(
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Design,
    todo: Sequence[Task],
    *,
    score: Scores,
    targets: Targets,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    result: Result = "scores",
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """The scores (or slopes) of the blocks ``todo``, in their order. Once ``stop()`` is true no further block is begun.

    Raises InputError when one is not finite, naming the clip and the mask.
    """
    present = support.present()
    inputs = build_inputs(model, clips, support, targets, mode)
    config = configure_passes(
        inputs, design.masks, score=score, mode=mode, chunk=chunk, mesh=mesh, dtype=dtype, result=result
    )
    model, rows = put(model, mesh, P()), call_rows(design.masks, config.chunk, mesh)

    def pieces() -> Iterator[Task]:
        for task in todo:
            if stop():
                return
            yield from (task._replace(start=s, stop=min(s + rows, task.stop)) for s in range(*task[1:], rows))

    def calls() -> Iterator[tuple[list[Task], DeviceBatch, jax.Array]]:
        for group in groups(pieces(), axis_size(mesh, VIDEO)):
            gates = gates_of(group, design, support, clips, present, rows)
            yield group, inputs.of([t.video for t in group], mesh), put(gates, mesh, P(VIDEO, MASK))

    def run(call: tuple[list[Task], DeviceBatch, jax.Array]) -> dict[str, jax.Array]:
        _, batch, gates = call
        found = run_block(config, model, batch, gates)
        return found if result == "scores" else jax.tree.map(lambda a: a[..., : support.concepts], found)

    ends, done = {(task.video, task.stop) for task in todo}, []
    for (group, *_), results in map_ordered(run, calls(), max_in_flight(mesh)):
        for piece in _blocks(group, results, clips):
            done.append(piece)
            if (piece.video, piece.stop) in ends:
                yield _joined(done)
                done = []


class Task(NamedTuple):
    """Rows ``start`` to ``stop`` of a clip."""

    video: int
    start: int
    stop: int


def tasks(design: Design, present: np.ndarray) -> list[Task]:
    """The blocks of a design, clip by clip."""
    size = block_size(design.masks)
    counts = [design.count(row) for row in present]
    return [Task(v, s, min(s + size, n)) for v, n in enumerate(counts) for s in range(0, n, size)]


def block_size(masks: int) -> int:
    """Rows of a block."""
    return min(BLOCK, masks)


def padded_rows(masks: int, mesh: Mesh | None) -> int:
    """Rows of a block, padded to a multiple of the devices along the mesh's axis ``mask``."""
    devices = axis_size(mesh, MASK)
    return -(-block_size(masks) // devices) * devices


def call_rows(masks: int, chunk: int, mesh: Mesh | None) -> int:
    """Rows of a call: those of a block, divided among the calls that run at the same time."""
    return max(-(-padded_rows(masks, mesh) // max_in_flight(mesh)), chunk)


def groups(todo: Iterable[Task], size: int) -> Iterator[list[Task]]:
    """``size`` tasks at a time; the last group repeats its last task."""
    waiting = iter(todo)
    while group := list(islice(waiting, size)):
        yield group + group[-1:] * (size - len(group))


def gates_of(
    group: list[Task], design: Design, support: Support, clips: ClipSource, present: np.ndarray, rows: int
) -> np.ndarray:
    """float32 [task, row, column]; missing rows repeat the last, columns beyond the concepts are ones."""
    gates = []
    for video, start, stop in group:
        rows_given = rows_of(design, support, clips.hashes[video], start, stop, present[video])
        gates.append(np.pad(rows_given, ((0, rows - len(rows_given)), (0, 0)), mode="edge"))
    return padded_columns(np.stack(gates))


def configure_passes(
    inputs: EngineInputs,
    masks: int,
    *,
    score: Scores,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    result: Result = "scores",
) -> PassConfig:
    """The settings of the compiled function. Measures the best chunk where none is given."""
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
    named = score_functions(score)
    check_functions(inputs.model, named, masks=inputs.targets.mask is not None)
    functions = tuple(named.items())
    rows = padded_rows(masks, mesh)
    config = PassConfig(functions, 1, mode, resolved_dtype(dtype), mesh, result)
    if chunk is None:
        chosen = pick_chunk(inputs, config, rows).chunk
    else:
        chosen = checked_chunk(chunk, rows // axis_size(mesh, MASK))
    return replace(config, chunk=chosen)


def chosen_chunk(
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Design,
    *,
    score: Scores,
    targets: Targets,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    result: Result = "scores",
    work: Work = Work(),
) -> int:
    """The given chunk; without one, 1 for a single row, else the measured chunk, which the store keeps. Slopes have a
    chunk of their own, because the way back needs more memory."""
    if chunk is not None or design.masks == 1:
        return 1 if chunk is None else chunk

    def measured() -> int:
        few = [0, int(donors(clips)[0])] if mode == "resample" else [0]  # and its donor
        inputs = build_inputs(model, clips[few], support[few], targets[few], mode)
        return configure_passes(
            inputs, design.masks, score=score, mode=mode, mesh=mesh, dtype=dtype, result=result
        ).chunk

    return measured() if work.store is None else int(work.store.resolved(CHUNK[result], measured))


def checked_chunk(chunk: int, rows: int) -> int:
    """The chunk, at most ``rows``. Raises InputError for a chunk below 1."""
    if chunk < 1:
        raise InputError(f"--chunk {chunk} must be at least 1 (rows of masks that run together)")
    return min(chunk, rows)


def _blocks(group: list[Task], results: dict[str, jax.Array], clips: ClipSource) -> Iterator[Block]:
    """The scores of a call, task by task."""
    values = {name: np.asarray(array) for name, array in results.items()}
    for row, task in enumerate(dict.fromkeys(group)):  # tasks that pad a group are not yielded twice
        scores = {name: array[row, : task.stop - task.start] for name, array in values.items()}
        check_finite(scores, clips.names[task.video], task.start)
        yield Block(*task, scores)


def _joined(pieces: list[Block]) -> Block:
    scores = {name: np.concatenate([piece.scores[name] for piece in pieces]) for name in pieces[0].scores}
    return Block(pieces[0].video, pieces[0].start, pieces[-1].stop, scores)


def check_finite(scores: Mapping[str, np.ndarray], clip: str, start: int) -> None:
    """Raises InputError for a score (or slope) that is not finite. start: the mask of the first row."""
    for name, values in scores.items():
        if not np.isfinite(values).all():
            mask = start + int(np.argwhere(~np.isfinite(values))[0, 0])
            what = "score" if values.ndim == 1 else "the slope of score"
            raise InputError(
                f"{what} {name!r} of clip {clip!r} under mask {mask} is not finite; check the weights and the clip"
            )
