"""Dicts of what a checkpoint holds, also where it holds whole objects: their tensors by the names of a state dict.

A TorchScript program and a network saved whole (``torch.save(model)``) come as inert records; a network's tensors are
attributes of them. Nothing of the objects is made or run.
"""

from __future__ import annotations

from typing import Any

from .pickles import Record
from .tensors import LazyTensor

MAX_OBJECTS = 200_000
MAX_DEPTH = 60
_PARTS = ("_parameters", "_buffers", "_modules")


def as_dict(value: Any) -> dict[Any, Any] | None:
    """A dict, a record's tensors by dotted name, or the attributes of a record without any; None for anything else."""
    if isinstance(value, Record):
        return module_tensors(value) or value.fields
    return value if isinstance(value, dict) else None


def module_tensors(record: Record) -> dict[str, LazyTensor]:
    """The tensors of a network by the names that its ``state_dict()`` would have; {} for other objects."""
    found: dict[str, LazyTensor] = {}
    open_parts: list[tuple[str, Any, int]] = [("", record, 0)]
    for visited, (prefix, value, depth) in enumerate(_drained(open_parts)):
        if visited > MAX_OBJECTS or depth > MAX_DEPTH:
            return {}  # objects that hold one another without end are no network
        for name, inner in _attributes(value):
            if isinstance(inner, LazyTensor):
                found.setdefault(prefix + name, inner)
            elif isinstance(inner, Record):
                open_parts.append((f"{prefix}{name}.", inner, depth + 1))
    return found


def _drained(stack: list[tuple[str, Any, int]]) -> Any:
    while stack:
        yield stack.pop()


def _attributes(record: Record) -> list[tuple[str, Any]]:
    """(name, value) in order, the last first for records, so that a stack gives the order of the file."""
    fields = record.fields
    if isinstance(fields.get("_parameters"), dict) and isinstance(fields.get("_modules"), dict):
        parts = [part for key in _PARTS if isinstance(part := fields.get(key), dict)]
        pairs = [(name, value) for part in parts for name, value in part.items()]
    else:
        pairs = list(fields.items())
    pairs = [(name, value) for name, value in pairs if isinstance(name, str)]
    return sorted(pairs, key=lambda pair: isinstance(pair[1], Record))[::-1]
