"""Writes files as ``torch.save`` does, without torch, and pickles that ``torch.save`` would never write.

The pickle is protocol 2, put together instruction by instruction, so that hostile ones are as easy as honest ones.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

KINDS = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage", "uint16": "BFloat16Storage",
}  # fmt: skip


class Namespace(NamedTuple):
    """Stands for an ``argparse.Namespace``."""

    fields: dict[str, Any]


class View(NamedTuple):
    """A tensor that is a view of a storage: offset, shape and strides in elements, right or wrong."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Raw(NamedTuple):
    """Instructions to put in as they are."""

    code: bytes


def bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 -> the bits of its bfloat16, which this writer takes for a BFloat16Storage."""
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2")


def call(name: str, *arguments: Any) -> Raw:
    """An instruction to call ``module.name`` with arguments."""
    module, _, attribute = name.rpartition(".")
    return Raw(_global(module, attribute) + Pickle().value(tuple(arguments)) + b"R")


def _global(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


class Pickle:
    """Collects the instructions of a value and the storages it needs."""

    def __init__(self) -> None:
        self.storages: list[np.ndarray] = []

    def value(self, v: Any) -> bytes:
        if isinstance(v, Raw):
            return v.code
        if isinstance(v, View):
            return self.tensor(v)
        if isinstance(v, np.ndarray):
            return self.tensor(View(v, 0, v.shape, tuple(s // v.itemsize for s in v.strides)))
        if isinstance(v, Namespace):
            return _global("argparse", "Namespace") + b")\x81" + self.value(v.fields) + b"b"
        if isinstance(v, tuple):
            return b"(" + b"".join(map(self.value, v)) + b"t"
        if isinstance(v, list):
            return b"](" + b"".join(map(self.value, v)) + b"e"
        if isinstance(v, dict):
            pairs = b"".join(self.value(k) + self.value(x) for k, x in v.items())
            return _global("collections", "OrderedDict") + b")R(" + pairs + b"u"
        return pickle.dumps(v, protocol=2)[2:-1]

    def tensor(self, v: View) -> bytes:
        key = str(len(self.storages))
        self.storages.append(np.ascontiguousarray(v.storage))
        kind = _global("torch", KINDS[v.storage.dtype.name])
        head = b"(" + self.value("storage") + kind + self.value(key) + self.value("cpu")
        storage = head + self.value(v.storage.size) + b"tQ"
        arguments = self.value(v.offset) + self.value(tuple(v.shape)) + self.value(tuple(v.strides))
        hooks = self.value(False) + self.value({})
        return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + arguments + hooks + b"tR"


def write_torch(path: Path, value: Any, *, compression: int = zipfile.ZIP_STORED, byteorder: str = "little") -> Path:
    """Writes ``value`` (dicts, lists, numbers, texts, arrays, ``Namespace``, ``View``, ``Raw``) as a torch zip file."""
    collected = Pickle()
    code = b"\x80\x02" + collected.value(value) + b"."
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", code)
        archive.writestr("archive/byteorder", byteorder)
        for key, storage in enumerate(collected.storages):
            archive.writestr(f"archive/data/{key}", storage.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def read_plain_safetensors(path: Path) -> dict[str, np.ndarray]:
    """A reader for tests that shares nothing with the one under test: float32 only."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {
        name: np.frombuffer(body[e["data_offsets"][0] : e["data_offsets"][1]], "<f4").reshape(e["shape"])
        for name, e in header.items()
    }
