"""The one masked forward pass of the library.

    scores[name][video, mask] = score(network(clip with gates[mask] on its concepts))

A host loop walks over fixed, padded blocks of (clip, rows of gates); a call of one compiled function (``passes``) takes
one block, or as many as the mesh has places along its axis ``video``. Several calls are under way at a time
(``calls``), so a device does not wait for the host. Memory grows with ``chunk``, and on a CPU with its cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from vtcd_jax.data import Clips
from vtcd_jax.devices.dispatch import at_once, in_order
from vtcd_jax.devices.mesh import place, places
from vtcd_jax.importance.designs.random import Design
from vtcd_jax.models import InputError, Model
from vtcd_jax.scores.functions import Scores, check_functions, default_scores, score_functions
from vtcd_jax.scores.targets import Targets, find_targets

from .chunks import pick_chunk
from .gates import Gates, as_design, rows_of
from .inputs import Arguments, arguments_of
from .masked_pass import MASK, VIDEO, ClipArguments, Passes, run_block
from .support import MODES, Support

# Rows of gates that are done, and kept, together: enough that a device never waits, few enough for smooth progress.
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
    design: Gates,
    *,
    score: Scores | None = None,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Scores of masked passes: name -> float32 [video, mask], NaN beyond the rows that a design gives a clip.

    support:  where each concept lies in each clip, rows in the order of ``clips``.
    design:   which concepts each mask removes; gates [mask, concept], an array or lists, are a design, the same for all
              clips.
    score:    names of ``SCORES``, or own functions, alone or by name, all from one pass; default: what fits the
              network.
    targets:  what each clip's score is about; default: what ``find_targets`` gives (each clip's predicted class, a
              tracker's masks), as in ``cris``: importance explains what the network says, labels or not. For the true
              classes give ``Targets(clips.labels)``.
    mode:     what a removed value becomes: "zero", "mean", "resample", "neg_inf" (see ``support``).
    chunk:    rows run together; None picks one (1 on a CPU).
    mesh:     devices with axes "video" and "mask" (``make_mesh``); None: the default one. It changes but rounding.
    dtype:    "float32", "bfloat16", or None: bfloat16 on accelerators. Scores are float32.
    progress: called with the number of passes done, block by block.

    Raises InputError for concepts or targets of other clips, gates of another width, and as ``cris`` does.
    """
    rows = as_design(design, support.concepts)
    names = default_scores(model) if score is None else score
    out = {name: np.full((len(clips), rows.masks), np.nan, np.float32) for name in score_functions(names)}
    settings = {"mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype}
    for block in score_blocks(model, clips, support, rows, score=names, targets=targets, **settings):
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
    score: Scores,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    skip: Callable[[int, int], bool] = lambda video, start: False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """The engine's loop, block by block; ``skip(video, start)`` leaves out blocks that are known already, and once
    ``stop()`` no more are begun: those under way are the last.

    Raises InputError when a score is not finite, naming the clip and the mask.
    """
    design, present = as_design(design, support.concepts), support.present()
    targets = find_targets(model, clips) if targets is None else targets
    arguments = arguments_of(model, clips, support, targets, mode)
    passes = make_passes(arguments, design.masks, score=score, mode=mode, chunk=chunk, mesh=mesh, dtype=dtype)
    todo = [task for task in tasks(design, present) if not skip(task.video, task.start)]
    model, rows = place(model, mesh, P()), call_rows(design.masks, passes.chunk, mesh)

    def pieces() -> Iterator[Task]:
        for task in todo:
            if stop():
                return
            yield from (task._replace(start=s, stop=min(s + rows, task.stop)) for s in range(*task[1:], rows))

    def calls() -> Iterator[tuple[list[Task], ClipArguments, jax.Array]]:
        for group in groups(pieces(), places(mesh, VIDEO)):
            gates = gates_of(group, design, clips, present, rows)
            yield group, arguments.of([t.video for t in group], mesh), place(gates, mesh, P(VIDEO, MASK))

    ends, parts = {(task.video, task.stop) for task in todo}, []
    for (group, *_), found in in_order(lambda own: run_block(passes, model, *own[1:]), calls(), at_once(mesh)):
        for piece in _blocks(group, found, clips):
            parts.append(piece)
            if (piece.video, piece.stop) in ends:
                yield _joined(parts)
                parts = []


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
    devices = places(mesh, MASK)
    return -(-block_size(masks) // devices) * devices


def call_rows(masks: int, chunk: int, mesh: Mesh | None) -> int:
    """Rows of a call: a block's; where calls run side by side, a block is shared out among them."""
    return max(-(-padded_rows(masks, mesh) // at_once(mesh)), chunk)


def groups(todo: Iterable[Task], size: int) -> Iterator[list[Task]]:
    """``size`` tasks at a time; the last group repeats its last task."""
    waiting = iter(todo)
    while group := list(islice(waiting, size)):
        yield group + group[-1:] * (size - len(group))


def gates_of(group: list[Task], design: Design, clips: Clips, present: np.ndarray, rows: int) -> np.ndarray:
    """float32 [task, row, concept]; missing rows repeat the last."""
    gates = []
    for video, start, stop in group:
        own = rows_of(design, clips.hashes[video], start, stop, present[video])
        gates.append(np.pad(own, ((0, rows - len(own)), (0, 0)), mode="edge"))
    return np.stack(gates)


def make_passes(
    arguments: Arguments,
    masks: int,
    *,
    score: Scores,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
) -> Passes:
    """What the compiled function depends on; measures the best chunk where none is given."""
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; known: {', '.join(MODES)}")
    named = score_functions(score)
    check_functions(arguments.model, named, masks=arguments.targets.mask is not None)
    functions = tuple(named.items())
    rows = padded_rows(masks, mesh)
    passes = Passes(functions, 1, mode, resolved_dtype(dtype), mesh)
    own = rows // places(mesh, MASK)
    chosen = pick_chunk(arguments, passes, rows).chunk if chunk is None else checked_chunk(chunk, own)
    return Passes(functions, chosen, mode, passes.dtype, mesh)


def resolved_dtype(dtype: str | None) -> str:
    """float32 on the CPU and bfloat16 on accelerators, where none is given."""
    if dtype is None or dtype == "auto":
        return "float32" if jax.default_backend() == "cpu" else "bfloat16"
    if dtype not in ("float32", "bfloat16"):
        raise InputError(f"unknown dtype {dtype!r}; known: float32, bfloat16, auto")
    return dtype


def checked_chunk(chunk: int, rows: int) -> int:
    if chunk < 1:
        raise InputError(f"--chunk {chunk} must be at least 1 (rows of masks that run together)")
    return min(chunk, rows)


def _blocks(group: list[Task], found: dict[str, jax.Array], clips: Clips) -> Iterator[Block]:
    """Reads the results of a call."""
    values = {name: np.asarray(array) for name, array in found.items()}
    for place_, task in enumerate(dict.fromkeys(group)):  # what pads a group is not yielded twice
        own = {name: array[place_, : task.stop - task.start] for name, array in values.items()}
        check_finite(own, clips.names[task.video], task.start)
        yield Block(*task, own)


def _joined(parts: list[Block]) -> Block:
    scores = {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores}
    return Block(parts[0].video, parts[0].start, parts[-1].stop, scores)


def check_finite(found: Mapping[str, np.ndarray], clip: str, start: int) -> None:
    for name, values in found.items():
        if not np.isfinite(values).all():
            mask = start + int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                f"score {name!r} of clip {clip!r} under mask {mask} is not finite; check the weights and the clip"
            )
