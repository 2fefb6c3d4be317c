"""One process at a time in a folder: a lock that the system frees when its process ends, however it ends."""

from __future__ import annotations

import contextlib
import io
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from vtcd_jax.base.errors import InputError

LOCK_NAME = ".lock"


@dataclass(frozen=True)
class Lock:
    """A held lock: the path of its file, and the open file that carries it."""

    path: Path
    file: io.FileIO


def acquire(folder: Path) -> Lock:
    """Locks a folder that exists. Raises InputError, naming the owner, where another process holds it."""
    path = folder / LOCK_NAME
    while True:
        file = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+")
        try:
            if _try_lock(file) and _is_file_at(file, path):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return Lock(path, file)
        except BaseException:
            file.close()
            raise
        file.close()  # held by another, or removed by its owner between our opening and locking it
        refuse_if_in_use(folder)


def release(lock: Lock) -> None:
    """Frees the folder and removes the lock file; a second call does nothing."""
    if lock.file.closed:
        return
    with contextlib.suppress(OSError):
        if _is_file_at(lock.file, lock.path):
            lock.path.unlink()
    lock.file.close()


def refuse_if_in_use(folder: Path) -> None:
    """Raises InputError where another process holds the folder; writes nothing.

    Processes that only look do not disturb each other: looking takes a lock that is shared.
    """
    try:
        file = io.FileIO(folder / LOCK_NAME, "r")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    with file:
        if not _try_lock(file, shared=True):
            owner = file.read(200).decode("utf-8", "replace").strip() or "another process"
            raise InputError(f"{folder}: is in use by {owner}; wait for it, or give another folder")


def _is_file_at(file: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(file: io.FileIO, *, shared: bool = False) -> bool:
    """Whether this process now holds the file; always true where the system has no such locks (Windows)."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
