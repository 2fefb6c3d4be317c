"""Reads ``.npz`` files with suspicion: every array's type and size is known before any of it is unpacked.

An ``.npz`` file is a zip of ``.npy`` entries, each a short header and raw numbers.
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError

from .tensors import MAX_AXES, file_size

MAX_HEADER = 10_000
MAX_ENTRIES = 10_000
_KINDS = "biuf"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What zipfile raises for damaged bytes; RuntimeError for encrypted entries and unknown compression.
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, ValueError, KeyError, EOFError, OSError, RuntimeError)
# NumPy parses a header as a Python literal: a hostile one ends in these, MemoryError where it is too deeply nested.
_BAD_HEADER = (TypeError, SyntaxError, OverflowError, MemoryError)


@dataclass(frozen=True)
class NpzArray:
    """An array that is described now and read later. dtype: numbers only."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def read(self) -> np.ndarray:
        """The values. Raises InputError when they are damaged."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER)
        except _DAMAGED as error:
            raise _broken(self.path, f"array {self.name!r} cannot be unpacked ({_reason(error)})") from None


def read_npz(path: str | Path) -> dict[str, NpzArray]:
    """Name -> array, in the order of the file. Raises InputError for anything but plain arrays of numbers."""
    path = Path(path)
    size = file_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_ENTRIES or len({info.filename for info in infos}) < len(infos):
                raise _broken(path, "too many arrays, or two of one name")
            return dict(_described(path, archive, info, size) for info in infos)
    except InputError:
        raise
    except (*_DAMAGED, *_BAD_HEADER) as error:
        raise _broken(path, _reason(error)) from None


def _described(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> tuple[str, NpzArray]:
    name = info.filename.removesuffix(".npy")
    if name == info.filename or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _broken(path, f"entry {info.filename[:80]!r} is none that numpy.savez makes")
    if info.compress_size > size:
        raise _broken(path, f"array {name[:80]!r} ends behind the end of the file")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise _broken(path, f"array {name[:80]!r} has an unknown format {version}")
        shape, _, dtype = _HEADERS[version](file, max_header_size=MAX_HEADER)
        header = file.tell()
    if dtype.kind not in _KINDS or dtype.subdtype is not None:
        raise _broken(path, f"array {name[:80]!r} holds {dtype}, expected numbers")
    if len(shape) > MAX_AXES or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise _broken(path, f"array {name[:80]!r} has no valid shape")
    if info.file_size != header + math.prod(shape) * dtype.itemsize:
        raise _broken(path, f"array {name[:80]!r}: {dtype}{list(shape)} does not take {info.file_size - header} bytes")
    return name, NpzArray(path, name, tuple(shape), dtype)


def _reason(error: Any) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def _broken(path: Path, what: str) -> InputError:
    return InputError(f"{path} is no valid npz file: {what}; save it again with numpy.savez")
