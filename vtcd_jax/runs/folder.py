"""Run folders: one experiment's settings, results and log on the disk. Knows no science.

    run/config.json          every setting; says that the folder is a run
    run/scores/*.safetensors blocks: pieces of work that are done, each with a checksum
    run/*.csv, *.safetensors results
    run/events.jsonl         what happened when
    run/report/              the report
    run/shards/*/            parts of the work that other processes do: runs themselves, each with its own lock

A run is used by one process at a time (a lock that dies with its process). Files appear whole or not at all,
so that an interrupted run continues with what is there: a block that fails its checksum is thrown away and
computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import save_safetensors, write_json

from .lock import LOCK_NAME, Lock, acquire, refuse_if_in_use, release
from .tables import read_csv, write_csv

__all__ = [
    "Run", "check_run", "checksum", "differences", "file_sha256", "manifest", "open_run", "read_config",
    "read_csv", "read_events", "write_csv",
]  # fmt: skip
FORMAT = "vtcd-run/1"
_OURS = (".json", ".jsonl", ".csv", ".safetensors", ".npz", ".part")  # what a run writes beside its folders
SHARDS = "shards"  # holds runs that other processes use at the same time
_OUR_FOLDERS = ("scores", "held_out", "report", SHARDS)


@dataclass(frozen=True)
class Run:
    """An open run folder, held until ``close`` (or the end of a ``with`` block).

    folder:  its path.
    config:  the settings it was opened with.
    resumed: whether it had been begun before.
    """

    folder: Path
    config: dict[str, Any]
    resumed: bool
    lock: Lock

    def path(self, name: str) -> Path:
        """Path of a file in the run; its folder is made where it is missing."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray], note: Mapping[str, str] | None = None) -> None:
        """Saves finished work as ``scores/<name>.safetensors``; ``note`` is text kept beside the arrays."""
        arrays = {key: np.asarray(value) for key, value in arrays.items()}
        metadata = {**(note or {}), "checksum": checksum(arrays)}
        save_safetensors(self.path(f"scores/{name}.safetensors"), arrays, metadata)

    def read_block(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of a block, or None where it is not there.

        A file that is damaged is removed, with an event, so that its work is done again.
        """
        path = self._block(name)
        if not path.is_file():
            return None
        arrays = _read_checked(path)
        if arrays is None:
            self.discard_block(name, "damaged")
        return arrays

    def discard_block(self, name: str, reason: str) -> None:
        """Removes a block, with an event, so that its work is done again."""
        self._block(name).unlink()
        self.event("block thrown away", {"block": name, "reason": reason})

    def remove_blocks(self, group: str) -> None:
        """Removes all blocks below a name: their work has gone into a result."""
        shutil.rmtree(self.folder / "scores" / group, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are left
            (self.folder / "scores").rmdir()

    def _block(self, name: str) -> Path:
        return self.folder / "scores" / f"{name}.safetensors"

    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks on the disk, sorted; they are not checked."""
        folder = self.folder / "scores"
        return tuple(sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.safetensors")))

    def event(self, kind: str, fields: Mapping[str, Any] | None = None) -> None:
        """Appends a line to ``events.jsonl``: time (seconds since 1970), kind, and JSON-able fields."""
        entry = {"time": round(time.time(), 3), "kind": kind, **(fields or {})}
        _append_line(self.folder / "events.jsonl", json.dumps(entry, ensure_ascii=False))

    def close(self) -> None:
        """Gives the folder free; may be called twice."""
        release(self.lock)

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
) -> Run:
    """Begins, continues or replaces a run.

    folder:    new or empty, or a run. Anything else is refused, whatever the options.
    config:    JSON-able settings that determine the results; written to ``config.json``.
    resume:    continue the run that is there; its settings must equal ``config``. A new run begins where none
               is.
    overwrite: replace the run that is there. Files of the kinds that a run writes are removed, others stay.
    ignore:    dotted names of settings that may differ when resuming.

    Raises InputError, before anything is written, where the folder cannot be used; OSError where the disk
    cannot.
    """
    folder = Path(folder)
    config = _as_json(config)
    check_run(folder, config, resume=resume, overwrite=overwrite, ignore=ignore)
    folder.mkdir(parents=True, exist_ok=True)
    lock = acquire(folder)
    try:
        check_run(folder, config, resume=resume, overwrite=overwrite, ignore=ignore, locked=True)
        begun = read_config(folder) is not None
        if begun and overwrite:
            _clear(folder)
        for left_over in _left_over(folder):
            left_over.unlink(missing_ok=True)
        resumed = begun and not overwrite
        if not resumed:
            write_json(folder / "config.json", {"format": FORMAT, **config})
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

    config: may be None while the settings are not known yet; they are then not compared.
    locked: whether this process holds the run already.
    """
    folder = Path(folder)
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other; give one of them")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file; give a folder for the run")
    if not locked:
        refuse_if_in_use(folder)
    if overwrite:
        for part in (folder / SHARDS).glob("*"):  # other processes may be at work in there
            refuse_if_in_use(part)
    old = read_config(folder)
    if old is None:
        others = sorted(e.name for e in folder.iterdir() if e.name != LOCK_NAME and not e.name.endswith(".part"))
        if others:
            raise InputError(f"{folder}: holds other things than a run ({', '.join(others[:3])}); give a new folder")
    elif not (resume or overwrite):
        raise InputError(f"{folder}: holds a run already; give --resume or --overwrite, or another folder")
    elif resume and config is not None:
        changes = differences(old, _as_json(config), ignore)
        if changes:
            raise InputError(
                f"{folder}: was begun with other settings: {'; '.join(changes)}\n"
                "resume it with the settings it was begun with, give --overwrite, or another folder"
            )


def read_config(folder: str | os.PathLike) -> dict[str, Any] | None:
    """The settings of a run; None where the folder is not a run."""
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(config, dict) or config.pop("format", None) != FORMAT:
        return None
    return config


def differences(old: Mapping[str, Any], new: Mapping[str, Any], ignore: Sequence[str] = ()) -> list[str]:
    """The settings that differ, by dotted name, as "name: old -> new"; a missing one is shown as (none)."""
    before, after = _dotted(old), _dotted(new)
    return [
        f"{name}: {_show(before, name)} -> {_show(after, name)}"
        for name in sorted({*before, *after})
        if not _same(before.get(name, ...), after.get(name, ...))
        and not any(name == skip or name.startswith(f"{skip}.") for skip in ignore)
    ]


def manifest(*, precision: str | None = None) -> dict[str, Any]:
    """What a run was made with: versions, device, precision. Starts JAX's backend."""
    from importlib.metadata import version

    import jax

    import vtcd_jax

    devices = jax.devices()
    return {
        "vtcd_jax": vtcd_jax.__version__,
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
        "precision": precision or "default",
    }


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 (hex) of a file, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\0{array.dtype.name}\0{arrays[name].shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_events(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The events of a run; a line that a crash left incomplete is left out."""
    events = []
    with contextlib.suppress(FileNotFoundError):
        for line in (Path(folder) / "events.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
    return events


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config as it reads back from JSON (tuples become lists), so that it can be compared."""
    if "format" in config:
        raise ValueError("the setting 'format' is kept for the run folder itself")
    return json.loads(json.dumps(config, allow_nan=False))


def _dotted(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    pairs: dict[str, Any] = {}
    for name, inner in value.items():
        pairs |= _dotted(inner, f"{prefix}.{name}" if prefix else str(name))
    return pairs


def _same(old: Any, new: Any) -> bool:
    return old == new and isinstance(old, bool) == isinstance(new, bool)  # True equals 1, but not as a setting


def _show(values: Mapping[str, Any], name: str) -> str:
    text = json.dumps(values[name], ensure_ascii=False) if name in values else "(none)"
    return text if len(text) <= 60 else text[:57] + "..."


def _read_checked(path: Path) -> dict[str, np.ndarray] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
            expected = (file.metadata() or {}).get("checksum")
    except (SafetensorError, ValueError):
        return None
    return arrays if checksum(arrays) == expected else None


def _append_line(path: Path, line: str) -> None:
    """One write, so that lines stay whole; an incomplete last line (after a crash) is closed first."""
    with path.open("ab+") as file:
        broken = False
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            broken = file.read(1) != b"\n"
        file.write((b"\n" if broken else b"") + line.encode("utf-8") + b"\n")


def _left_over(folder: Path) -> list[Path]:
    """What a crash left half-written. Shards are left alone: who opens one looks after it."""
    inside = [path for name in _OUR_FOLDERS if name != SHARDS for path in (folder / name).rglob(".*.part")]
    return [*folder.glob(".*.part"), *inside]


def _clear(folder: Path) -> None:
    """Removes what a run wrote; ``config.json`` stays until it is replaced: the folder remains a run."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry.name in _OUR_FOLDERS:
            shutil.rmtree(entry)
        elif entry.is_file() and entry.suffix in _OURS and entry.name != "config.json":
            entry.unlink()
