"""Checkpoints by Orbax: whole or absent, checked when they are read.

A checkpoint holds the training state, and as JSON what the host knows beside it: the table's rows, the figures since
the last row, and a checksum of the state. Orbax writes into a temporary folder and renames it, so that one a crash cut
short is never taken for whole; one that was damaged later fails its checksum.
"""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vtcd_jax.models.errors import InputError
from vtcd_jax.runs import checksum

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


def open_checkpoints(folder: Path, kept_every: int | None = None) -> Any:
    """Orbax's manager of a run folder's checkpoints."""
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, keep_period=kept_every, cleanup_tmp_directories=True, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager((folder / FOLDER).resolve(), options=options)


def save(manager: Any, state: TrainState, notes: Notes) -> None:
    """Saves a checkpoint of ``state.step``; one that is there already stays."""
    import orbax.checkpoint as ocp

    step = int(state.step)
    if step in manager.all_steps():
        return
    beside = {"rows": notes.rows, "pending": notes.pending, "checksum": _checksum(state)}
    items = ocp.args.Composite(state=ocp.args.StandardSave(_tree(state)), notes=ocp.args.JsonSave(beside))
    manager.save(step, args=items)
    manager.wait_until_finished()


def latest(manager: Any, like: TrainState) -> tuple[TrainState, Notes] | None:
    """The last checkpoint that is whole; None where there is none. Damaged ones are removed, with a warning.

    like: a state with the shapes, dtypes and devices of the one to restore.
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

    like: as ``initial_state`` gives it. Raises InputError where there is no whole checkpoint of this step.
    """
    with open_checkpoints(Path(folder)) as manager:
        steps = manager.all_steps()
        restored = _restore(manager, step, like) if step in steps else None
    if restored is None:
        there = ", ".join(str(s) for s in sorted(steps)) or "none"
        raise InputError(f"{Path(folder) / FOLDER}: no whole checkpoint of step {step}; there are: {there}")
    return restored[0]


def _restore(manager: Any, step: int, like: TrainState) -> tuple[TrainState, Notes] | None:
    import orbax.checkpoint as ocp

    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(like))
    items = ocp.args.Composite(state=ocp.args.StandardRestore(shapes), notes=ocp.args.JsonRestore())
    try:
        restored = manager.restore(step, args=items)
        notes = restored["notes"]
        state = TrainState(**restored["state"])
        whole = _checksum(state) == notes["checksum"]
    except (ValueError, KeyError, TypeError, OSError):  # what Orbax raises on missing and on broken files
        return None
    return (state, Notes(notes["rows"], notes["pending"])) if whole else None


def _tree(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "state", "moments", "average")}


def _checksum(state: TrainState) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(_tree(state))
    return checksum({jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves})
