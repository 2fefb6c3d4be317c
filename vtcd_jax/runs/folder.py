"""Run folders: one experiment's settings, results and log on the disk. Independent of any method.

    run/config.json          every setting, and the job; marks the folder as a run
    run/scores/*.safetensors blocks: finished pieces of work, each with a checksum
    run/*.csv, *.safetensors results
    run/events.jsonl         the log
    run/report/              the report
    run/shards/*/            shards that other processes compute: runs themselves, each with its own lock

A run is used by one process at a time (``lock``). Files are written atomically, so that an interrupted run
resumes from its files: a block with a wrong checksum is removed and computed again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import save_safetensors

from .blocks import Arrays, checksum, read_checked
from .config import FORMAT, as_json, differences, other_format, read_config, write_config
from .events import append_event
from .lock import LOCK_NAME, OWNER_NAME, Lock, acquire, refuse_if_in_use, release
from .records import FOLDER as RECORDS

BLOCKS, SHARDS = "scores", "shards"  # folders of the blocks, and of the runs that other processes use meanwhile
_WRITTEN = (".json", ".jsonl", ".csv", ".safetensors", ".npz", ".part")  # files that a run writes outside its folders


@dataclass(frozen=True)
class Run:
    """An open run folder, held until ``close`` (or the end of a ``with`` block). It is a ``BlockStore``.

    folder:  its path.
    config:  the settings with which it was opened.
    resumed: whether it existed before.
    """

    folder: Path
    config: dict[str, Any]
    resumed: bool
    lock: Lock

    def path(self, name: str) -> Path:
        """Path of a file in the run; its folder is created if missing."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores a finished block as ``scores/<name>.safetensors``."""
        arrays = {key: np.asarray(value) for key, value in arrays.items()}
        save_safetensors(self.path(f"{BLOCKS}/{name}.safetensors"), arrays, {"checksum": checksum(arrays)})

    def read_block(self, name: str) -> Arrays | None:
        """The arrays of a block; None where it is missing.

        A damaged file is removed, with an event, so that the block is computed again.
        """
        path = self._block(name)
        if not path.is_file():
            return None
        arrays = read_checked(path)
        if arrays is None:
            self.discard_block(name, "damaged")
        return arrays

    def discard_block(self, name: str, reason: str) -> None:
        """Removes a block, with an event, so that it is computed again."""
        self._block(name).unlink()
        self.event("block thrown away", {"block": name, "reason": reason})

    def remove_blocks(self, group: str) -> None:
        """Removes all blocks below a name, once a result contains them."""
        shutil.rmtree(self.folder / BLOCKS / group, ignore_errors=True)
        with contextlib.suppress(OSError):  # other blocks remain
            (self.folder / BLOCKS).rmdir()

    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks on the disk, sorted; they are not checked."""
        folder = self.folder / BLOCKS
        return tuple(sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.safetensors")))

    def resolved(self, name: str, make: Callable[[], Any]) -> Any:
        """A setting that is chosen by measuring: stored in ``config.json``, so that a resumed run uses it again."""
        config = read_config(self.folder) or {}
        if name not in config:
            config[name] = make()
            write_config(self.folder, config)
            self.event(name, {name: config[name]})
        return config[name]

    def event(self, kind: str, fields: Mapping[str, Any] | None = None) -> None:
        """Appends a line to ``events.jsonl``: time (seconds since 1970), kind, and JSON-able fields."""
        append_event(self.folder, kind, fields)

    def close(self) -> None:
        """Releases the folder; may be called twice."""
        release(self.lock)

    def _block(self, name: str) -> Path:
        return self.folder / BLOCKS / f"{name}.safetensors"

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_run(
    folder: str | os.PathLike,
    config: Mapping[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
    ignore: Sequence[str] = (),
    folders: Sequence[str] = (),
) -> Run:
    """Begins, continues or replaces a run.

    folder:    new or empty, or a run. Anything else is refused, whatever the options.
    config:    JSON-able settings that determine the results; written to ``config.json``.
    resume:    continue the existing run; its settings must equal ``config``. Without a run a new one begins.
    overwrite: replace the existing run. Files of the kinds that a run writes are removed, others stay.
    ignore:    dotted names of settings that may differ when resuming.
    folders:   further folders that the run's job writes; ``overwrite`` removes them.

    Raises InputError, before anything is written, for a folder that cannot be used; OSError for errors of the disk.
    """
    folder = Path(folder)
    config = as_json(config)
    check_run(folder, config, resume=resume, overwrite=overwrite, ignore=ignore)
    folder.mkdir(parents=True, exist_ok=True)
    lock = acquire(folder)
    try:
        check_run(folder, config, resume=resume, overwrite=overwrite, ignore=ignore, locked=True)
        begun = read_config(folder) is not None
        written = (BLOCKS, SHARDS, RECORDS, "report", *folders)
        if begun and overwrite:
            _clear(folder, written)
        for path in _unfinished(folder, written):
            path.unlink(missing_ok=True)
        resumed = begun and not overwrite
        if not resumed:
            write_config(folder, config)
        run = Run(folder, config, resumed, lock)
        run.event("resumed" if resumed else "begun", {"host": socket.gethostname(), "process": os.getpid()})
        return run
    except BaseException:
        release(lock)
        raise


def check_run(
    folder: str | os.PathLike,
    config: Mapping[str, Any] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    ignore: Sequence[str] = (),
    locked: bool = False,
) -> None:
    """Raises the InputError that ``open_run`` would raise, and writes nothing.

    config: None while the settings are unknown; they are then not compared.
    locked: whether this process holds the run already.
    """
    folder = Path(folder)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other; give one of them")
    if not folder.exists():
        check_parents(folder)
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the run")
    if not locked:
        refuse_if_in_use(folder)
    if overwrite:
        for shard in (folder / SHARDS).glob("*"):  # other processes may be using them
            refuse_if_in_use(shard)
    old = read_config(folder)
    if old is None and (name := other_format(folder)):
        raise InputError(f"{folder}: is a run of format {name}, this version reads {FORMAT}; give another folder")
    if old is None:
        ours = (LOCK_NAME, OWNER_NAME)
        others = sorted(e.name for e in folder.iterdir() if e.name not in ours and not e.name.endswith(".part"))
        if others:
            raise InputError(f"{folder}: holds other files than a run ({', '.join(others[:3])}); give a new folder")
    elif not (resume or overwrite):
        raise InputError(f"{folder}: holds a run already; give --resume or --overwrite, or another folder")
    elif resume and config is not None:
        changes = differences(old, as_json(config), ignore)
        if changes:
            raise InputError(
                f"{folder}: was begun with other settings: {'; '.join(changes)}\n"
                "resume it with the settings it was begun with, give --overwrite, or another folder"
            )


def check_parents(folder: Path) -> None:
    """Raises InputError if one of the parents of ``folder`` is a file."""
    above = next((parent for parent in folder.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise InputError(f"{folder}: {above} is a file; give another folder for the run")


def _unfinished(folder: Path, written: Sequence[str]) -> list[Path]:
    """Stale temporary files of a process that was killed. Those of shards are removed when the shard is opened."""
    inside = [path for name in written if name != SHARDS for path in (folder / name).rglob(".*.part")]
    return [*folder.glob(".*.part"), *inside]


def _clear(folder: Path, written: Sequence[str]) -> None:
    """Removes what a run wrote; ``config.json`` stays until it is replaced: the folder remains a run."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry.name in written:
            shutil.rmtree(entry)
        elif entry.is_file() and entry.suffix in _WRITTEN and entry.name != "config.json":
            entry.unlink()
