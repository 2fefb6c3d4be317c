"""One process at a time in a folder: a lock of the operating system, which ends with its process (``filelock``).

run/.lock     the locked file; it stays when the lock is released
run/.owner    who holds the lock, for messages
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from vtcd_jax.base.errors import InputError

LOCK_NAME, OWNER_NAME = ".lock", ".owner"
PATIENCE = 0.5  # seconds; a process that only tests the lock holds it for an instant


@dataclass(frozen=True)
class Lock:
    """A held lock on a folder."""

    folder: Path
    file: FileLock


def acquire(folder: Path) -> Lock:
    """Locks a folder that exists. Raises InputError, naming the owner, where another process holds it."""
    file = FileLock(folder / LOCK_NAME, is_singleton=False)
    try:
        file.acquire(timeout=PATIENCE, poll_interval=0.01)
    except Timeout:
        raise _in_use(folder) from None
    (folder / OWNER_NAME).write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
    return Lock(folder, file)


def release(lock: Lock) -> None:
    """Releases the folder; a second call does nothing."""
    if lock.file.is_locked:
        for name in (OWNER_NAME, LOCK_NAME):  # a waiting process notices that its file is removed (not on Windows)
            with contextlib.suppress(OSError):
                (lock.folder / name).unlink()
        lock.file.release()


def refuse_if_in_use(folder: Path) -> None:
    """Raises InputError where another process holds the folder; changes nothing."""
    if not (folder / LOCK_NAME).is_file():
        return
    file = FileLock(folder / LOCK_NAME, is_singleton=False)
    try:
        file.acquire(timeout=PATIENCE, poll_interval=0.01)
    except Timeout:
        raise _in_use(folder) from None
    except PermissionError:  # a read-only folder
        return
    file.release()


def _in_use(folder: Path) -> InputError:
    owner = ""
    with contextlib.suppress(OSError):
        owner = (folder / OWNER_NAME).read_text(encoding="utf-8", errors="replace")[:200].strip()
    return InputError(f"{folder}: is in use by {owner or 'another process'}; wait for it, or give another folder")
