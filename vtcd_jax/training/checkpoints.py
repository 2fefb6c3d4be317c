"""Checkpoints by Orbax: atomic, and checked when they are read.

A checkpoint holds the training state, and as JSON the table's rows, the metrics since the last row, and a checksum of
the state. Orbax writes into a temporary folder and renames it, so that a crash leaves no partial checkpoint. A
checkpoint that is damaged later fails its checksum.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.runs import checksum, differences

from .step import TrainState

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Notes:
    """The host's part of a checkpoint.

    rows:    of the table, so far.
    pending: metrics of each step since the last row.
    """

    rows: list[dict[str, Any]]
    pending: list[dict[str, float]]


def open_checkpoints(folder: Path, kept_every: int | None = None, *, read_only: bool = False) -> Any:
    """Orbax's manager of a run folder's checkpoints. read_only: changes nothing, even during a training."""
    import orbax.checkpoint as ocp

    options = (
        ocp.CheckpointManagerOptions(read_only=True)
        if read_only
        else ocp.CheckpointManagerOptions(
            max_to_keep=2, keep_period=kept_every, cleanup_tmp_directories=True, enable_async_checkpointing=False
        )
    )
    return ocp.CheckpointManager((folder / FOLDER).resolve(), options=options)


def save(manager: Any, state: TrainState, notes: Notes) -> None:
    """Saves a checkpoint of ``state.step``, unless it exists."""
    import orbax.checkpoint as ocp

    step = int(state.step)
    if step in manager.all_steps():
        return
    notes_json = {"rows": notes.rows, "pending": notes.pending, "arrays": _shapes(state), "checksum": _checksum(state)}
    items = ocp.args.Composite(state=ocp.args.StandardSave(_tree(state)), notes=ocp.args.JsonSave(notes_json))
    manager.save(step, args=items)
    manager.wait_until_finished()


def latest(manager: Any, like: TrainState) -> tuple[TrainState, Notes] | None:
    """The last valid checkpoint, or None. Damaged ones are removed, with a warning.

    like: a state with the shapes, dtypes and devices to restore. Raises InputError, and removes nothing, for a
    checkpoint with other arrays (the task has changed).
    """
    for step in sorted(manager.all_steps(), reverse=True):
        restored = _restore(manager, step, like)
        if restored is not None:
            return restored
        path = manager.directory / str(step)
        warnings.warn(f"{path}: is damaged; training resumes from an earlier step", stacklevel=2)
        shutil.rmtree(path)
        manager.reload()
    return None


def read_checkpoint(folder: str | Path, step: int, like: TrainState) -> TrainState:
    """The state at a step with a kept checkpoint (``kept_every``), for curves over a training.

    like: as from ``initial_state``. Raises InputError for a missing or damaged checkpoint, or one of another task.
    """
    path = Path(folder) / FOLDER
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the folder of a training")
    with open_checkpoints(Path(folder), read_only=True) as manager:
        steps = manager.all_steps()
        restored = _restore(manager, step, like) if step in steps else None
    if restored is None:
        available = ", ".join(str(s) for s in sorted(steps)) or "none"
        raise InputError(f"{path}: no valid checkpoint of step {step}; available: {available}")
    return restored[0]


def _restore(manager: Any, step: int, like: TrainState) -> tuple[TrainState, Notes] | None:
    """The state and notes of a step; None if they are damaged."""
    import orbax.checkpoint as ocp

    notes = _or_none(lambda: manager.restore(step, args=ocp.args.Composite(notes=ocp.args.JsonRestore()))["notes"])
    if notes is None or not notes.keys() >= {"rows", "pending", "arrays", "checksum"}:
        return None
    if changes := differences(notes["arrays"], _shapes(like)):
        raise InputError(
            f"{manager.directory / str(step)}: is of a task with other arrays: {'; '.join(changes[:5])}\n"
            "train in a new folder"
        )
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(like))
    items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes))
    tree = _or_none(lambda: manager.restore(step, args=items)["state"])
    if tree is None or _checksum(TrainState(**tree)) != notes["checksum"]:
        return None
    return TrainState(**tree), Notes(notes["rows"], notes["pending"])


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (ValueError, KeyError, TypeError, OSError):  # what Orbax raises on missing and on broken files
        return None


def _tree(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "state", "moments", "average")}


def _leaves(state: TrainState) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(_tree(state))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _shapes(state: TrainState) -> dict[str, str]:
    return {name: f"{leaf.dtype}{list(leaf.shape)}" for name, leaf in _leaves(state).items()}


def _checksum(state: TrainState) -> str:
    return checksum({name: np.asarray(leaf) for name, leaf in _leaves(state).items()})
