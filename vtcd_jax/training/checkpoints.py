"""Checkpoints by Orbax: whole or absent, checked when they are read.

A checkpoint holds the training state, and as JSON what the host knows beside it: the table's rows, the figures since
the last row, and a checksum of the state. Orbax writes into a temporary folder and renames it, so that one a crash cut
short is never taken for whole; one that was damaged later fails its checksum.
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
    """What the host knows at a step.

    rows:    of the table, so far.
    pending: figures of each step since the last row.
    """

    rows: list[dict[str, Any]]
    pending: list[dict[str, float]]


def open_checkpoints(folder: Path, kept_every: int | None = None, *, read_only: bool = False) -> Any:
    """Orbax's manager of a run folder's checkpoints. read_only: changes nothing, also while a training goes on."""
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
    """Saves a checkpoint of ``state.step``; one that is there already stays."""
    import orbax.checkpoint as ocp

    step = int(state.step)
    if step in manager.all_steps():
        return
    beside = {"rows": notes.rows, "pending": notes.pending, "arrays": _shapes(state), "checksum": _checksum(state)}
    items = ocp.args.Composite(state=ocp.args.StandardSave(_tree(state)), notes=ocp.args.JsonSave(beside))
    manager.save(step, args=items)
    manager.wait_until_finished()


def latest(manager: Any, like: TrainState) -> tuple[TrainState, Notes] | None:
    """The last checkpoint that is whole; None where there is none. Damaged ones are removed, with a warning.

    like: a state with the shapes, dtypes and devices of the one to restore. Raises InputError, and removes nothing,
    where a checkpoint holds others: the task has changed.
    """
    for step in sorted(manager.all_steps(), reverse=True):
        restored = _restore(manager, step, like)
        if restored is not None:
            return restored
        path = manager.directory / str(step)
        warnings.warn(f"{path}: is damaged; training goes on from an earlier step", stacklevel=2)
        shutil.rmtree(path)
        manager.reload()
    return None


def read_checkpoint(folder: str | Path, step: int, like: TrainState) -> TrainState:
    """The state at a step of which the checkpoint was kept (``kept_every``), for curves over a training.

    like: as ``initial_state`` gives it. Raises InputError where there is no whole checkpoint of this step, or one of
    another task.
    """
    path = Path(folder) / FOLDER
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give the folder of a training")
    with open_checkpoints(Path(folder), read_only=True) as manager:
        steps = manager.all_steps()
        restored = _restore(manager, step, like) if step in steps else None
    if restored is None:
        there = ", ".join(str(s) for s in sorted(steps)) or "none"
        raise InputError(f"{path}: no whole checkpoint of step {step}; there are: {there}")
    return restored[0]


def _restore(manager: Any, step: int, like: TrainState) -> tuple[TrainState, Notes] | None:
    """None where it is damaged."""
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
