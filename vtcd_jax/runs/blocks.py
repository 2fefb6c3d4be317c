"""Block stores: where functions store finished pieces of work, so that an interrupted call resumes.

A block is a set of named arrays under a name such as ``rank/8f3a-000064``. Functions of the library take a store as
part of their ``Work``; a ``Run`` stores blocks as files, ``MemoryStore`` in the memory of one process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

Arrays = dict[str, np.ndarray]


@runtime_checkable
class BlockStore(Protocol):
    """What a resumable function needs of its store."""

    def read_block(self, name: str) -> Arrays | None:
        """The arrays of a block; None where it is missing or was damaged."""
        ...

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Stores a finished block."""
        ...

    def discard_block(self, name: str, reason: str) -> None:
        """Removes a block that cannot be used."""
        ...

    def remove_blocks(self, group: str) -> None:
        """Removes all blocks below a name, once a result contains them."""
        ...

    def resolved(self, name: str, make: Callable[[], Any]) -> Any:
        """A setting that is chosen once by measuring and stored for later calls. JSON-able."""
        ...

    def event(self, kind: str, fields: Mapping[str, Any] | None = None) -> None:
        """Logs an event; ``fields`` are JSON-able."""
        ...


@dataclass
class MemoryStore:
    """A store in the memory of this process: blocks by name, resolved settings, and events in order."""

    blocks: dict[str, Arrays] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def read_block(self, name: str) -> Arrays | None:
        return self.blocks.get(name)

    def write_block(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        self.blocks[name] = {key: np.asarray(value) for key, value in arrays.items()}

    def discard_block(self, name: str, reason: str) -> None:
        self.blocks.pop(name, None)

    def remove_blocks(self, group: str) -> None:
        for name in [name for name in self.blocks if name.startswith(f"{group}/")]:
            del self.blocks[name]

    def resolved(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.settings:
            self.settings[name] = make()
        return self.settings[name]

    def event(self, kind: str, fields: Mapping[str, Any] | None = None) -> None:
        self.events.append((kind, dict(fields or {})))


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) over names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\0{array.dtype.name}\0{arrays[name].shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_checked(path: Path) -> Arrays | None:
    """The arrays of a block's file; None where it is damaged: no safetensors file, or another checksum."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
            expected = (file.metadata() or {}).get("checksum")
    except (SafetensorError, ValueError):
        return None
    return arrays if checksum(arrays) == expected else None
