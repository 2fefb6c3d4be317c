"""``scores``: masked passes of clips under a design. Finished blocks are stored, so that an interrupted call resumes.

    scores[name][video, mask] = score(network(clip with gates[mask] on its concepts))
    <step>/<clip>-<row>-<key>      a block in the store: scores of the rows that begin there

A block's key is a digest of everything that its scores depend on: network, clip, concepts, target, gates, mode. Blocks
of another network or target are therefore never taken for these. A call may be interrupted, divided among processes
(``Work.shard``) and continued on another machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.data import ClipSource
from vtcd_jax.devices.precision import resolved_dtype
from vtcd_jax.models import Model, fingerprint
from vtcd_jax.runs import Step, Work
from vtcd_jax.runs.interrupts import graceful_interrupt
from vtcd_jax.runs.work import never
from vtcd_jax.scores import Scores, Targets, default_scores, find_targets, score_functions

from .engine import Task, chosen_chunk, score_blocks, tasks
from .gates import Gates, as_design
from .inputs import check_joined
from .keys import Question, block_names
from .masked_pass import Result
from .prefix import prefix_blocks, supports_prefix
from .support import Support

PASSES = Step("scores", "masked passes", "pass")
EVENT_SECONDS = 10.0  # between events about progress


def scores(
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Gates,
    *,
    score: Scores | None = None,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    rows: np.ndarray | None = None,
    step: Step = PASSES,
    work: Work = Work(),
) -> dict[str, np.ndarray]:
    """Scores of masked passes: name -> float32 [video, mask], NaN where not run.

    support:  the tokens of each concept in each clip, in the order of ``clips``.
    design:   which concepts each mask removes; gates [mask, concept], an array or lists, are a design, the same for all
              clips.
    score:    names of ``SCORES``, or your own functions, alone or by name, all from one pass; default: the scores
              that fit the network.
    targets:  target of each clip's score; default: the result of ``find_targets`` (each clip's predicted class, a
              tracker's masks): importance explains the prediction, with or without labels. For the true classes give
              ``Targets(clips.labels)``.
    mode:     what a removed value becomes: "zero", "mean", "resample", "neg_inf" (see ``support``).
    chunk:    rows that run together; None: chosen by measuring (1 on a CPU).
    mesh:     devices with axes "video" and "mask" (``make_mesh``); None: the default device. It affects only rounding.
    dtype:    "float32", "bfloat16", or None: bfloat16 on accelerators. Scores are float32.
    rows:     int [video], number of rows of each clip, from the first; None: all rows of the design.
    step:     names the blocks and the progress.
    work:     where blocks are kept; with a store, Ctrl-C ends the work (KeyboardInterrupt) after the running blocks,
              as ``work.stop`` does with and without one.

    Raises InputError for concepts or targets of other clips, gates of another width, unknown scores and modes, a class
    that the network does not have, and a score that is not finite.
    """
    settings = {"mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype}
    score = default_scores(model) if score is None else score
    return measured("scores", model, clips, support, design, score, targets, rows, step, work, **settings)


def measured(
    result: Result,
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Gates,
    score: Scores,
    targets: Targets | None,
    rows: np.ndarray | None,
    step: Step,
    work: Work,
    *,
    mode: str,
    chunk: int | None,
    mesh: Mesh | None,
    dtype: str | None,
) -> dict[str, np.ndarray]:
    """Scores or slopes of masked passes: name -> float32 [video, mask, ...]; see ``scores`` and ``slopes``."""
    design, present = as_design(design, support.concepts), support.present()
    names = score_functions(score)
    targets = find_targets(model, clips) if targets is None else targets
    check_joined(model, clips, support, targets)  # before a part of them is taken, or a finished block
    shape = (len(clips), design.masks, *(() if result == "scores" else (support.concepts,)))
    out = {name: np.full(shape, np.nan, np.float32) for name in names}
    wanted = [
        task
        for number, task in enumerate(tasks(design, present))
        if work.shard.has(number) and (rows is None or task.start < rows[task.video])
    ]
    block_name: dict[Task, str] = {}
    if work.store is not None:
        passes = {"model": fingerprint(model), "mode": mode, "precision": resolved_dtype(dtype), "scores": list(names)}
        passes |= {} if result == "scores" else {"result": result}
        question = Question(clips, support, targets)
        block_name = dict(zip(wanted, block_names(step.name, question, design, wanted, passes), strict=True))
    missing = {task for task in wanted if not _fill(out, task, _stored_block(work, block_name.get(task), task, out))}
    report = _Report(work, step, wanted, missing)
    if not missing:
        return out
    settings = {"score": names, "targets": targets, "mode": mode, "mesh": mesh, "dtype": dtype, "result": result}
    chunk = chosen_chunk(model, clips, support, design, chunk=chunk, work=work, **settings)
    todo = [task for task in wanted if task in missing]
    from_prefix = getattr(design, "sparse", False) and result == "scores" and mesh is None
    from_prefix = from_prefix and supports_prefix(model, support)
    if from_prefix:  # rows that remove few concepts begin at their first edited block
        del settings["mesh"], settings["result"]
    run = prefix_blocks if from_prefix else score_blocks
    with nullcontext(never) if work.store is None else graceful_interrupt() as asked:
        stop = partial(_any, (asked, work.stop))
        for block in run(model, clips, support, design, todo, chunk=chunk, stop=stop, **settings):
            task = Task(block.video, block.start, block.stop)
            if task in block_name:
                work.write(block_name[task], block.scores)
            _fill(out, task, block.scores)
            report.done(task)
        if stop():
            report.interrupted()
            raise KeyboardInterrupt
    return out


def _any(questions: tuple[Callable[[], bool], ...]) -> bool:
    return any(question() for question in questions)


def _stored_block(work: Work, name: str | None, task: Task, out: dict[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """A finished block; None where it is not there, or is not what it should be and has been thrown away."""
    if name is None:
        return None
    block, rows = work.read(name), task.stop - task.start
    shapes = {key: (rows, *values.shape[2:]) for key, values in out.items()}
    if block is not None and {key: value.shape for key, value in block.items()} != shapes:
        held = ", ".join(f"{key} {list(value.shape)}" for key, value in sorted(block.items()))
        work.discard(name, f"holds {held}; expected {', '.join(out)}, {rows} rows each")
        return None
    return block


def _fill(out: dict[str, np.ndarray], task: Task, block: dict[str, np.ndarray] | None) -> bool:
    """Copies a block into the scores; False where there is none."""
    if block is None:
        return False
    for name in out:
        out[name][task.video, task.start : task.stop] = block[name]
    return True


class _Report:
    """Reports progress: to the caller after every block, and to the store's events every few seconds."""

    def __init__(self, work: Work, step: Step, wanted: list[Task], missing: set[Task]) -> None:
        self._work, self._step = work, step
        self._total = sum(task.stop - task.start for task in wanted)
        self._stored = self._total - sum(task.stop - task.start for task in missing)
        self._now, self._missing = self._stored, set(missing)
        self._begun = self._reported = time.monotonic()
        self._clips = {task.video for task in wanted}
        if missing:
            self._show()

    def done(self, task: Task) -> None:
        self._missing.discard(task)
        self._now += task.stop - task.start
        self._show()
        if time.monotonic() - self._reported >= EVENT_SECONDS or not self._missing:
            self._reported = time.monotonic()
            self._event("progress")

    def interrupted(self) -> None:
        self._event("interrupted")

    def _show(self) -> None:
        self._work.progress(self._step, self._now, self._total, f"{self._finished()}/{len(self._clips)} clips")

    def _event(self, kind: str) -> None:
        if self._work.store is not None:
            self._work.store.event(kind, self._fields())

    def _finished(self) -> int:
        return len(self._clips - {task.video for task in self._missing})

    def _fields(self) -> dict[str, Any]:
        """Stage; finished and total masks; finished and total clips; masks per second; seconds left."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        rate = (self._now - self._stored) / seconds
        return {
            "stage": self._step.name,
            "masks": self._now,
            "of": self._total,
            "clips": self._finished(),
            "of_clips": len(self._clips),
            "per_second": round(rate, 3),
            "seconds_left": round((self._total - self._now) / max(rate, 1e-9), 1),
        }
