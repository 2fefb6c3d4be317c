"""Reads ``.pth``, ``.pt``, ``.ckpt`` and ``.bin`` files without torch and without running what is in them.

Since version 1.6 such a file is an uncompressed zip: ``NAME/data.pkl`` describes the object, ``NAME/data/KEY`` holds
the bytes of storage KEY. The pickle is read as data (``pickles``); of the storages only their place is noted. Nothing
is extracted, so entry names cannot lead anywhere; compressed entries (zip bombs) and overlapping ones are refused;
every tensor's offset, shape and strides must lie inside its storage. A TorchScript program has the same form with its
source text beside it, which is not looked at: its tensors are attributes of the objects in ``data.pkl``.
https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import errno
import math
import shlex
import struct
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vtcd_jax.base.errors import InputError

from .pickle_names import PLAIN_NAMES, lookup
from .pickles import MAX_BYTES, Constructor, PickleError, read_pickle
from .signatures import zip_kind
from .tensors import MAX_AXES, STORED, LazyTensor, file_size, span

MAX_ENTRIES = 200_000
SCRIPT = "TorchScript program, read without running it"
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


# A damaged directory makes zipfile raise any of these; OSError only as "Invalid argument" (a place before the start).
_ZIP_ERRORS = (OverflowError, zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OSError)


@dataclass(frozen=True)
class Storage:
    """A run of elements in the file. start: its first byte.  count: elements."""

    path: Path
    start: int
    count: int
    dtype: str


class TorchFile(NamedTuple):
    """kind: in words.  content: the object that was saved, with ``LazyTensor`` and ``Record`` in it."""

    kind: str
    content: Any


def read_torch(path: Path) -> TorchFile:
    """The object that was saved, with ``LazyTensor`` for tensors and ``Record`` for other objects.

    Raises InputError for files that are no such zip, are damaged, too old, or ask for a call that is not allowed.
    """
    size = file_size(path)
    entries = _entries(path, size)
    pickles = [name for name in entries if _is_pickle(name)]
    if len(pickles) != 1:
        raise InputError(f"{path} is a zip, but not one that torch.save makes ({len(pickles)} data.pkl inside)")
    prefix = pickles[0].removesuffix("data.pkl")
    if _bytes_of(path, entries.get(f"{prefix}byteorder"), 16) not in (b"", b"little"):
        raise InputError(f"{path} was written on a big-endian machine; re-save it on a little-endian one")
    data = _bytes_of(path, entries[pickles[0]], MAX_BYTES)

    def storage(identity: Any) -> Storage:
        return _storage(path, entries, prefix, identity)

    try:
        content = read_pickle(data, partial(lookup, CONSTRUCTORS), storage)
    except PickleError as error:
        raise InputError(
            f"{path}: {error}. If you trust it, load it with torch and torch.save its state_dict alone"
        ) from None
    return TorchFile(SCRIPT if f"{prefix}constants.pkl" in entries else "torch zip file", content)


# -- the zip -------------------------------------------------------------------------------------------------------
def _is_pickle(name: str) -> bool:
    return name == "data.pkl" or name.endswith("/data.pkl")


def _entries(path: Path, size: int) -> dict[str, tuple[int, int]]:
    """Entry name -> (first byte, length) of its data, all stored, in range and apart from each other."""
    infos = _infos(path)
    if not any(_is_pickle(info.filename) for info in infos):
        raise InputError(f"{path} is {zip_kind([info.filename for info in infos])}")
    found: dict[str, tuple[int, int]] = {}
    with open(path, "rb") as file:
        for info in infos:
            if info.filename in found:
                raise _damaged(path, f"entry {info.filename!r} occurs twice")
            if not _is_code(info):
                found[info.filename] = _place(path, file, info, size)
    ranges = sorted((start, start + length, name) for name, (start, length) in found.items() if length)
    for (_, end, before), (begin, _, after) in zip(ranges, ranges[1:], strict=False):
        if begin < end:
            raise _damaged(path, f"entries {before!r} and {after!r} overlap")
    return found


def _infos(path: Path) -> list[zipfile.ZipInfo]:
    """The zip's directory. Raises InputError where there is none, and for torch's old format."""
    with open(path, "rb") as file:
        start = file.read(32)
    if start.startswith(_LEGACY_MAGIC):
        raise InputError(_legacy(path))
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except _ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        if start.startswith(b"PK"):
            raise InputError(f"{path} is truncated or damaged ({error}); download or copy it again") from None
        if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
            raise InputError(
                f"{path} is a bare pickle; load it and torch.save its state dict, in which are tensors"
            ) from None
        raise InputError(
            f"{path} is neither a safetensors file nor a torch zip file (torch >= 1.6); give one of these"
        ) from None
    if len(infos) > MAX_ENTRIES:
        raise InputError(f"{path} has {len(infos)} zip entries, more than any real checkpoint")
    return infos


def _is_code(info: zipfile.ZipInfo) -> bool:
    """Source text of a TorchScript program, which torch compresses and nobody reads."""
    return "code" in info.filename.split("/")[:-1] and info.filename.endswith((".py", ".debug_pkl"))


def _place(path: Path, file: Any, info: zipfile.ZipInfo, size: int) -> tuple[int, int]:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
        raise _damaged(path, f"entry {info.filename!r} is compressed or encrypted, which torch.save never does")
    file.seek(max(0, info.header_offset))
    header = file.read(30)
    if info.header_offset < 0 or len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise _damaged(path, f"entry {info.filename!r} has no header")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    start = info.header_offset + 30 + name_length + extra_length
    if start + info.file_size > size:
        raise _damaged(path, f"entry {info.filename!r} ends behind the end of the file")
    return start, info.file_size


def _bytes_of(path: Path, place: tuple[int, int] | None, limit: int) -> bytes:
    if place is None:
        return b""
    start, length = place
    if length > limit:
        raise _damaged(path, f"an index of {length} bytes is larger than any real one ({limit})")
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(length)


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is no valid torch file: {what}; download or copy it again")


def _legacy(path: Path) -> str:
    return (
        f"{path} has torch's format from before version 1.6; re-save it (only tensors are loaded), convert new.pth:\n"
        "  pip install 'vtcd-jax[torch]' && python -c \"import sys, torch; "
        f"torch.save(torch.load(sys.argv[1], 'cpu', weights_only=True), 'new.pth')\" {shlex.quote(str(path))}"
    )


# -- the constructors ----------------------------------------------------------------------------------------------
def _storage(path: Path, entries: dict[str, tuple[int, int]], prefix: str, identity: Any) -> Storage:
    if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
        raise PickleError("its pickle refers to something outside that is no storage")
    _, kind, key, _, count = identity
    dtype = _STORAGES.get(kind.name.rpartition(".")[2]) if isinstance(kind, Constructor) else None
    if dtype is None or not isinstance(key, str) or type(count) is not int or count < 0:
        raise PickleError("its pickle describes a storage of a kind that is not known")
    place = entries.get(f"{prefix}data/{key}")
    if place is None:
        raise PickleError(f"storage {key[:80]!r} is missing in the zip")
    start, length = place
    if length != count * np.dtype(STORED[dtype]).itemsize:
        raise PickleError(f"storage {key[:80]!r} should hold {count} {dtype}, its entry has {length} bytes")
    return Storage(path, start, count, dtype)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> LazyTensor:
    """``torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)``."""
    if not isinstance(storage, Storage) or not (_naturals((offset,)) and _naturals(shape) and _naturals(strides)):
        raise PickleError("its pickle describes a tensor that is none")
    if len(shape) != len(strides) or len(shape) > MAX_AXES:
        raise PickleError(f"its pickle has a tensor of {len(shape)} axes and {len(strides)} strides")
    if math.prod(shape) > storage.count or offset + span(shape, strides) > storage.count:
        raise PickleError(
            f"its pickle has a tensor of shape {shape} that reaches beyond its storage of {storage.count} elements"
        )
    return LazyTensor(
        storage.path,
        storage.start + offset * np.dtype(STORED[storage.dtype]).itemsize,
        shape,
        strides,
        storage.dtype,
    )


def _naturals(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(n) is int and 0 <= n < 2**63 for n in values)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _typed(function: Any, _: Any = None, arguments: Any = (), *__: Any) -> Any:
    """``torch._tensor._rebuild_from_type_v2(function, type, arguments, state)``, of sub-classes of a tensor."""
    if not isinstance(function, Constructor) or function.make is None or not isinstance(arguments, tuple):
        raise PickleError("its pickle describes a tensor that is none")
    return function.make(*arguments)


def _constructors() -> dict[str, Constructor]:
    table = PLAIN_NAMES | {
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._tensor._rebuild_from_type_v2": _typed,
    }
    table |= {f"torch.{name}": None for name in _STORAGES}
    table |= {f"torch.{name}": None for name in (*STORED, "half", "float", "double", "long", "int", "complex64")}
    return {name: Constructor(name, make) for name, make in table.items()}


CONSTRUCTORS = _constructors()
