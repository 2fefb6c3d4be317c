"""Atomic files: complete or absent.

Every file of the library is written under a temporary name in the same folder, flushed to the disk and renamed: a crash
or a full disk never leaves a partial file under its final name. Bytes depend only on the content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that appears under ``path`` only if the block ends without an error."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder to fill, renamed to ``path`` if the block ends without an error.

    An older folder at ``path`` is moved aside meanwhile, and moved back after an error.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    aside = temporary.with_suffix(".old")
    try:
        yield temporary
        os.chmod(temporary, 0o755)
        if path.exists():
            os.rename(path, aside)
        os.rename(temporary, path)
    except BaseException:
        if aside.exists() and not path.exists():
            os.rename(aside, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    r"""Writes text as UTF-8; bytes of file names that are no UTF-8 stand as \xNN."""
    plain = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    write_bytes(path, plain.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Sorted keys, two spaces, a newline at the end: the same value gives the same bytes.

    Names of files that are no UTF-8 read back as they are: their odd bytes stand as escapes of JSON.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, json_bytes(text))


def json_bytes(text: str) -> bytes:
    r"""JSON as UTF-8; lone surrogates (bytes of file names that are no UTF-8) as ``\udcNN``, which JSON reads back."""
    return text.encode("utf-8", "backslashreplace")


_DTYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}  # fmt: skip


def save_safetensors(path: str | Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Writes arrays one by one (each may be a function that makes it), in name order: bounded memory, fixed bytes.

    tensors:  name -> array, or name -> (shape, dtype, make) where ``make()`` is called just before the array is
              written.
    metadata: text pairs for the header.
    """
    entries = {name: _entry(tensors[name]) for name in sorted(tensors)}
    header: dict[str, Any] = {"__metadata__": dict(sorted((metadata or {}).items()))} if metadata else {}
    offset = 0
    for name, (shape, dtype, _) in entries.items():
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {
            "dtype": _DTYPES[dtype.name],
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, (shape, dtype, make) in entries.items():
            array = np.asarray(make(), order="C")
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"tensor {name!r} was declared as {dtype}{shape}, but is {array.dtype}{array.shape}")
            file.write(array.reshape(-1).view(np.uint8).data)


def _entry(value: Any) -> tuple[tuple[int, ...], np.dtype, Callable[[], np.ndarray]]:
    if isinstance(value, tuple):
        shape, dtype, make = value
        return tuple(int(n) for n in shape), np.dtype(dtype), lambda: np.asarray(make())
    array = np.asarray(value)
    return array.shape, array.dtype, lambda: array


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dict -> {"a/b/c": leaf}."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        flat.update(flatten(value, path + "/") if isinstance(value, Mapping) else {path: value})
    return flat


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b/c": leaf} -> nested dict."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split("/")
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[leaf] = value
    return tree


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 (hex) of a file, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
