"""The training loop: from the last checkpoint, or the start, to the last step.

    folder/config.json       task and settings
    folder/checkpoints/STEP  the training state, by Orbax
    folder/training.csv      a row per evaluation
    folder/events.jsonl      the log, with speed and the device's idle time

The parameters and the table depend only on task and settings, not on interruptions, workers or checkpoints. With more
devices, or more parts of a batch, they are the same up to rounding.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.base.errors import InputError
from vtcd_jax.runs import Run, differences, open_run, read_config
from vtcd_jax.runs.tables import write_csv

from .checkpoints import Notes, latest, open_checkpoints, save
from .feeding import Workers, batches_ahead
from .placing import check_devices, place_batch, place_state
from .settings import TrainSettings
from .step import TrainState, initial_state, make_step
from .stepping import NotFinite, Stretch, check_state, make_steps
from .task import Batch, Task

Progress: TypeAlias = Callable[[str, int, int, str], None]
TABLE = "training.csv"


@dataclasses.dataclass(frozen=True)
class Trained:
    """The result of a training.

    params:  after the last step.
    average: the averaged params, or None.
    state:   the task's state.
    step:    number of steps: fewer than in the settings if ``stop`` ended it.
    rows:    of the table: step, clips, means of the task's metrics since the row before, and the evaluation.
    """

    params: Any
    average: Any
    state: Any
    step: int
    rows: tuple[dict[str, Any], ...]


class Diverged(InputError):
    """A loss, gradient or parameter that is not finite: the settings do not train this task."""


def never() -> bool:
    return False


def fit(
    task: Task,
    settings: TrainSettings,
    folder: str | os.PathLike,
    *,
    mesh: Mesh | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = never,
) -> Trained:
    """Trains from the last checkpoint in ``folder``, or from the start.

    folder:   new, empty, or of the same task and settings; the settings of checkpoints may differ.
    mesh:     devices to split each batch over, along all its axes; None computes on the first.
    workers:  workers that make batches in advance; default: one thread.
    progress: called as progress("train", steps made, steps in all, "loss 0.123").
    stop:     called after each step; once True, a checkpoint is saved and the training ends.

    Raises InputError for a folder of another kind, with other settings (all differences are listed) or in use, and for
    a batch that does not fit the devices; Diverged, naming the step, if loss, gradient or parameters are not finite
    (earlier checkpoints are kept).
    """
    check_devices(settings, 1 if mesh is None else mesh.size)
    with ExitStack() as stack:
        run = stack.enter_context(_open(Path(folder), task, settings))
        manager = stack.enter_context(open_checkpoints(run.folder, settings.kept_every))
        state = place_state(initial_state(task, settings), mesh)
        state, notes = latest(manager, state) or (state, Notes([], []))
        _write_table(run, notes.rows)
        steps = range(int(state.step), settings.steps)
        made = batches_ahead(task.batch, settings.seed, settings.batch, steps, workers or Workers())
        batches = (place_batch(batch, settings, mesh) for batch in stack.enter_context(made))
        try:
            return _train(task, settings, run, manager, state, notes, batches, progress, stop)
        except NotFinite as error:
            run.event("diverged", {"step": error.step, "what": error.what})
            raise Diverged(_diverged(run.folder, error, manager.latest_step())) from None


def _train(
    task: Task,
    settings: TrainSettings,
    run: Run,
    manager: Any,
    state: TrainState,
    notes: Notes,
    batches: Iterator[Batch],
    progress: Progress | None,
    stop: Callable[[], bool],
) -> Trained:
    """Runs of steps, with a row, a checkpoint, or both after each."""
    update, report = make_step(task, settings), _reporter(settings, progress)
    step, stopped = int(state.step), False
    while step < settings.steps and not stopped:
        stretch = make_steps(update, state, batches, range(step, _next_pause(settings, step)), report, stop)
        state, stopped, step = stretch.state, stretch.stopped, step + len(stretch.metrics)
        notes = Notes(notes.rows, notes.pending + stretch.metrics)
        check_state(state)
        if _due(step, settings.evaluate_every, settings.steps):
            notes = Notes([*notes.rows, _row(task, settings, state, step, notes.pending)], [])
            _write_table(run, notes.rows)
            run.event("row", notes.rows[-1])
        run.event("steps", _speed(settings, step, stretch))
        if stopped or _due(step, settings.checkpoint_every, settings.steps):
            save(manager, state, notes)
            run.event("checkpoint", {"step": step})
    run.event("ended", {"step": step, "of": settings.steps})
    return Trained(state.params, state.average, state.state, step, tuple(notes.rows))


def _open(folder: Path, task: Task, settings: TrainSettings) -> Run:
    """The folder's run, locked; refused if it holds another training."""
    described = dataclasses.asdict(settings)
    for name in ("checkpoint_every", "kept_every"):
        del described[name]
    config = {"kind": "training", "task": dict(task.config), "settings": described}
    before = read_config(folder)
    if before is not None and before.get("kind") != "training":
        raise InputError(f"{folder}: holds another kind of run; give a new folder")
    if before is not None and (changes := differences(before, _plain(config))):
        raise InputError(
            f"{folder}: was begun with another task or other settings: {'; '.join(changes)}\n"
            "give the same ones, or a new folder"
        )
    return open_run(folder, config, resume=True)


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (tuple, list)) else value


def _diverged(folder: Path, error: NotFinite, last: int | None) -> str:
    kept = "there is no checkpoint yet" if last is None else f"the checkpoint of step {last} stays"
    return (
        f"{folder}: training stopped at step {error.step}: {error.what} is not finite ({kept}); lower the learning "
        "rate or the clip norm, or check the clips of that step, and train in a new folder"
    )


def _due(step: int, every: int, steps: int) -> bool:
    return step % every == 0 or step == steps


def _next_pause(settings: TrainSettings, step: int) -> int:
    """The next step with an evaluation or a checkpoint."""
    pauses = [(step // every + 1) * every for every in (settings.evaluate_every, settings.checkpoint_every)]
    return min(*pauses, settings.steps)


def _row(
    task: Task, settings: TrainSettings, state: TrainState, step: int, metrics: list[dict[str, float]]
) -> dict[str, Any]:
    names = ["loss", *sorted(metrics[0].keys() - {"loss"})]
    means = {name: float(np.mean([values[name] for values in metrics])) for name in names}
    evaluated = dict(task.evaluate(state.params if state.average is None else state.average, state.state))
    row = {"step": step, "clips": step * settings.batch, **means}
    if both := sorted(row.keys() & evaluated.keys()):
        raise ValueError(f"the task's loss and its evaluation both give the metrics {both}")
    return row | {name: value if isinstance(value, int) else float(value) for name, value in evaluated.items()}


def _write_table(run: Run, rows: list[dict[str, Any]]) -> None:
    """The whole table. Without rows the file is removed: a killed process may have rows that its checkpoint lacks."""
    if rows:
        write_csv(run.path(TABLE), rows, list(rows[0]))
    else:
        run.path(TABLE).unlink(missing_ok=True)


def _speed(settings: TrainSettings, step: int, stretch: Stretch) -> dict[str, Any]:
    """Fields of an event: speed of the steps, and the fraction of the time in which the device waited for clips."""
    clips = len(stretch.metrics) * settings.batch
    return {
        "step": step,
        "seconds": round(stretch.seconds, 3),
        "clips_per_second": round(clips / stretch.seconds, 2),
        "waiting_share": round(stretch.idle / stretch.seconds, 4),
    }


def _reporter(settings: TrainSettings, progress: Progress | None) -> Callable[[int, dict[str, float] | None], None]:
    def report(done: int, metrics: dict[str, float] | None) -> None:
        if progress is not None:
            progress("train", done, settings.steps, "" if metrics is None else f"loss {metrics['loss']:.3g}")

    return report
