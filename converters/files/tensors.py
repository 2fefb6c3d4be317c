"""A tensor of a checkpoint that is described now and read later.

Containers check a whole file from its index alone and hand out these; the values are read, one tensor at a time, when a
conversion needs them. Reading (not mapping) keeps memory at one tensor and turns a file that shrinks meanwhile into an
error instead of a bus fault.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError

# Name -> how the bytes are stored (little endian). bfloat16 is the upper half of a float32.
STORED = {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int64": "<i8", "int32": "<i4",
    "int16": "<i2", "int8": "<i1", "uint64": "<u8", "uint32": "<u4", "uint16": "<u2", "uint8": "<u1", "bool": "|b1",
}  # fmt: skip
FLOATING = ("float64", "float32", "float16", "bfloat16")
MAX_AXES = 16


@dataclass(frozen=True)
class LazyTensor:
    """Where a tensor lies.

    path, start: file and byte of its first element.  shape, strides: per axis, strides counted in elements.
    dtype: a key of ``STORED``.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def read(self) -> np.ndarray:
        """The values, C-ordered; bfloat16 comes as float32, the others as stored."""
        stored = np.dtype(STORED[self.dtype])
        flat = _read_bytes(self.path, self.start, span(self.shape, self.strides) * stored.itemsize).view(stored)
        if self.size == 0:
            values = np.zeros(self.shape, stored)
        else:
            steps = tuple(s * stored.itemsize for s in self.strides)
            values = np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, self.shape, steps, writeable=False))
        if self.dtype == "bfloat16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        return values.reshape(self.shape)


def span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last one that the tensor touches, both included; 0 when it is empty."""
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-ordered array."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def _read_bytes(path: Path, start: int, count: int) -> np.ndarray:
    values = np.fromfile(path, np.uint8, count, offset=start)
    if len(values) != count:
        raise InputError(f"{path} ended while it was read; is it still being written or downloaded?")
    return values


def file_size(path: Path) -> int:
    """Size in bytes of a regular, non-empty file. Raises InputError otherwise."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give a checkpoint file or a Hugging Face folder")
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give a checkpoint file or a Hugging Face folder")
    size = os.stat(path).st_size
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes); download or copy it again")
    return size
