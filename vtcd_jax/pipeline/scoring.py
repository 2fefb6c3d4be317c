"""Masked passes of a run: every finished block is a file, and files that are there are not redone.

    scores/<stage>/<clip>-<row>-<key>.safetensors      scores of the rows that begin there, with a checksum

A block's name holds a hash of all that its scores depend on (``blocks``), so that a run may be interrupted, shared
between processes (``Shard``) and go on elsewhere, and takes no block that answers another question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.ablation.engine import Task, make_passes, resolved_dtype, score_blocks, tasks
from vtcd_jax.ablation.inputs import arguments_of, donors
from vtcd_jax.ablation.keys import Part, block_names
from vtcd_jax.base.files import write_json
from vtcd_jax.importance.designs.random import Design
from vtcd_jax.runs import FORMAT, Run, read_config
from vtcd_jax.runs.interrupts import graceful_interrupt

from .settings import RunSettings
from .sources import Prepared

Progress = Callable[..., None]
"""Called as progress(stage, done, total), where clips are counted beside masks with a word about them too."""
EVERY = 10.0  # seconds between events about progress


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` equal parts of a stage's blocks, index from 0."""

    index: int = 0
    count: int = 1

    def has(self, number: int) -> bool:
        return number % self.count == self.index


WHOLE = Shard()


def measure(
    run: Run,
    stage: str,
    settings: RunSettings,
    prepared: Prepared,
    part: Part,
    design: Design,
    progress: Progress | None = None,
    *,
    rows: np.ndarray | None = None,
    shard: Shard = WHOLE,
) -> dict[str, np.ndarray]:
    """Scores name -> float32 [video, mask], NaN where not run.

    rows:  int [video], the first rows of each clip that are wanted; None: all.
    shard: the blocks that are done here.
    Ctrl-C ends the work (KeyboardInterrupt) after the blocks under way, with what is done saved.
    """
    clips, present = part.clips, part.support.present()
    wanted = [
        task
        for number, task in enumerate(tasks(design, present))
        if shard.has(number) and (rows is None or task.start < rows[task.video])
    ]
    out = {name: np.full((len(clips), design.masks), np.nan, np.float32) for name in prepared.scores}
    names = dict(zip(wanted, _names(run, stage, settings, prepared, part, design, wanted), strict=True))
    missing = {task for task in wanted if not _fill(out, task, _known_block(run, names[task], task, out))}
    report = _Report(run, stage, progress, wanted, missing)
    if not missing:
        return out
    chosen = _chunk(run, settings, prepared, part, design)
    starts = {(task.video, task.start) for task in missing}
    with graceful_interrupt() as asked:
        blocks = score_blocks(
            prepared.model, clips, part.support, design, score=prepared.scores, targets=part.targets,
            mode=settings.mode, chunk=chosen, dtype=settings.precision,
            skip=lambda video, start: (video, start) not in starts, stop=asked,
        )  # fmt: skip
        for block in blocks:
            task = Task(block.video, block.start, block.stop)
            run.write_block(names[task], block.scores)
            _fill(out, task, block.scores)
            report.done(task)
        if asked():
            report.interrupted()
    return out


def _names(
    run: Run, stage: str, settings: RunSettings, prepared: Prepared, part: Part, design: Design, wanted: list[Task]
) -> list[str]:
    """Names of the wanted blocks."""
    passes = {
        "model": run.config.get("model"),  # SHA-256 of every file of it
        "mode": settings.mode,
        "precision": resolved_dtype(settings.precision),
        "scores": list(prepared.scores),
    }
    return block_names(stage, part, design, wanted, passes)


def _known_block(run: Run, name: str, task: Task, scores: Collection[str]) -> dict[str, np.ndarray] | None:
    """A finished block; None where it is not there, or is not what it should be and has been thrown away."""
    block, shape = run.read_block(name), (task.stop - task.start,)
    if block is not None and {key: value.shape for key, value in block.items()} != dict.fromkeys(scores, shape):
        held = ", ".join(f"{key} {list(value.shape)}" for key, value in sorted(block.items()))
        run.discard_block(name, f"holds {held}; wanted {', '.join(scores)}, {shape[0]} rows each")
        return None
    return block


def _fill(out: dict[str, np.ndarray], task: Task, block: dict[str, np.ndarray] | None) -> bool:
    """Whether the block was there and has been written into the scores."""
    if block is None:
        return False
    for name in out:
        out[name][task.video, task.start : task.stop] = block[name]
    return True


def _chunk(run: Run, settings: RunSettings, prepared: Prepared, part: Part, design: Design) -> int:
    """Masks that run together: as told, or measured once and kept in ``config.json``, so that resuming keeps it."""
    if settings.chunk is not None:
        return settings.chunk
    config = read_config(run.folder) or {}
    if "chunk" not in config:
        few = [0, 1][: len(part.clips)]
        if settings.mode == "resample":  # one clip takes the values of another
            few = [0, int(donors(part.clips)[0])]
        part = Part(part.clips[few], part.support[few], part.targets[few])
        arguments = arguments_of(prepared.model, part.clips, part.support, part.targets, settings.mode)
        # The first stage has one row a clip; the chunk is for those with many.
        passes = make_passes(
            arguments, max(settings.masks, design.masks), score=prepared.scores, mode=settings.mode,
            dtype=settings.precision,
        )  # fmt: skip
        config["chunk"] = passes.chunk
        write_json(run.folder / "config.json", {"format": FORMAT, **config})
        run.event("chunk", {"chunk": passes.chunk, "dtype": passes.dtype})
    return config["chunk"]


class _Report:
    """Tells progress: to the caller after every block, and to ``events.jsonl`` now and then."""

    def __init__(self, run: Run, stage: str, progress: Progress | None, wanted: list[Task], missing: set[Task]) -> None:
        self._run, self._stage, self._progress = run, stage, progress
        self._total = sum(task.stop - task.start for task in wanted)
        self._known = self._total - sum(task.stop - task.start for task in missing)
        self._now, self._missing = self._known, set(missing)
        self._begun = self._told = time.monotonic()
        self._clips = {task.video for task in wanted}
        if missing:
            self._tell()

    def done(self, task: Task) -> None:
        self._missing.discard(task)
        self._now += task.stop - task.start
        self._tell()
        if time.monotonic() - self._told >= EVERY or not self._missing:
            self._told = time.monotonic()
            self._run.event("progress", self._fields())

    def interrupted(self) -> None:
        self._run.event("interrupted", self._fields())

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._stage, self._now, self._total, f"{self._finished()}/{len(self._clips)} clips")

    def _finished(self) -> int:
        return len(self._clips - {task.video for task in self._missing})

    def _fields(self) -> dict[str, Any]:
        """stage; masks done and in all; clips whose masks are all done, and all; masks per second; seconds left."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        rate = (self._now - self._known) / seconds
        return {
            "stage": self._stage,
            "masks": self._now,
            "of": self._total,
            "clips": self._finished(),
            "of_clips": len(self._clips),
            "per_second": round(rate, 3),
            "seconds_left": round((self._total - self._now) / max(rate, 1e-9), 1),
        }
