"""Reads ``.pth``, ``.pt``, ``.ckpt`` and ``.bin`` files without torch and without running what is in them.

Since version 1.6 such a file is an uncompressed zip: ``NAME/data.pkl`` describes the object, ``NAME/data/KEY`` holds
the bytes of storage KEY. The pickle is read as data (``pickles``); of the storages only their place is noted. Nothing
is extracted, so entry names cannot lead anywhere; compressed entries (zip bombs) and overlapping ones are refused;
every tensor's offset, shape and strides must lie inside its storage.
https://pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import errno
import math
import shlex
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.models.errors import InputError

from .pickles import MAX_BYTES, Constructor, PickleError, Record, read_pickle
from .tensors import MAX_AXES, STORED, LazyTensor, file_size, span

MAX_ENTRIES = 200_000
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


def read_torch(path: Path) -> Any:
    """The object that was saved, with ``LazyTensor`` for tensors and ``Record`` for other objects.

    Raises InputError for files that are no such zip, are damaged, too old, or hold anything off the allow-list.
    """
    size = file_size(path)
    entries = _entries(path, size)
    pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise InputError(f"{path} is a zip, but not one that torch.save makes ({len(pickles)} data.pkl inside)")
    prefix = pickles[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in entries:
        raise InputError(f"{path} is a TorchScript program; save its state_dict() with torch.save instead")
    if _bytes_of(path, entries.get(f"{prefix}byteorder"), 16) not in (b"", b"little"):
        raise InputError(f"{path} was written on a big-endian machine; re-save it on a little-endian one")
    data = _bytes_of(path, entries[pickles[0]], MAX_BYTES)

    def storage(identity: Any) -> Storage:
        return _storage(path, entries, prefix, identity)

    try:
        return read_pickle(data, CONSTRUCTORS, storage)
    except PickleError as error:
        raise InputError(
            f"{path}: {error}. If you trust it, load it with torch and torch.save its state_dict alone"
        ) from None


# -- the zip -------------------------------------------------------------------------------------------------------
def _entries(path: Path, size: int) -> dict[str, tuple[int, int]]:
    """Entry name -> (first byte, length) of its data, all stored, in range and apart from each other."""
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
        raise InputError(
            f"{path} is neither a safetensors file nor a torch zip file (torch >= 1.6); give one of these"
        ) from None
    if len(infos) > MAX_ENTRIES:
        raise InputError(f"{path} has {len(infos)} zip entries, more than any real checkpoint")
    found: dict[str, tuple[int, int]] = {}
    with open(path, "rb") as file:
        for info in infos:
            if info.filename in found:
                raise _damaged(path, f"entry {info.filename!r} occurs twice")
            found[info.filename] = _place(path, file, info, size)
    ranges = sorted((start, start + length, name) for name, (start, length) in found.items() if length)
    for (_, end, before), (begin, _, after) in zip(ranges, ranges[1:], strict=False):
        if begin < end:
            raise _damaged(path, f"entries {before!r} and {after!r} overlap")
    return found


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


def _same(values: Any = ()) -> Any:
    return values


def _no_items(*arguments: Any) -> dict[str, Any]:
    if any(not isinstance(a, (Constructor, type(None))) for a in arguments):
        raise PickleError("its pickle fills a dict in a way that checkpoints do not")
    return {}


def _text(value: Any = "", *_: Any) -> str:
    return value if isinstance(value, str) else ""


def _path(*parts: Any) -> str:
    if not all(isinstance(part, str) for part in parts) or sum(map(len, parts)) > 4096:
        raise PickleError("its pickle has a path that is none")
    return "/".join(parts).replace("//", "/")


def _numpy_dtype(code: Any, *_: Any) -> Record:
    return Record("numpy.dtype", {"code": code if isinstance(code, str) and len(code) < 8 else ""})


_NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


def _numpy_scalar(dtype: Any, data: Any = b"") -> Any:
    code = dtype.fields.get("code", "") if isinstance(dtype, Record) and dtype.name == "numpy.dtype" else ""
    raw = data.encode("latin1", "replace") if isinstance(data, str) and len(data) <= 16 else data
    if code not in _NUMBERS or not isinstance(raw, bytes) or len(raw) != int(code[1:]):
        return Record("numpy.scalar")
    return np.frombuffer(raw, np.dtype("<" + code))[0].item()


def _record(name: str) -> Callable[..., Record]:
    return lambda *_: Record(name)


def _reconstruct(kind: Any = None, *_: Any) -> Record:
    return Record(kind.name if isinstance(kind, Constructor) else "object")


def _constructors() -> dict[str, Constructor]:
    table: dict[str, Callable[..., Any] | None] = {
        "collections.OrderedDict": _no_items,
        "collections.defaultdict": _no_items,
        "collections.Counter": _same,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch.Size": _same,
        "torch.device": _text,
        "argparse.Namespace": _record("argparse.Namespace"),
        "types.SimpleNamespace": _record("types.SimpleNamespace"),
        "_codecs.encode": _text,
        "copy_reg._reconstructor": _reconstruct,
        "copyreg._reconstructor": _reconstruct,
        "numpy.dtype": _numpy_dtype,
        "numpy.ndarray": None,
    }
    table |= {f"torch.{name}": None for name in _STORAGES}
    table |= {f"torch.{name}": None for name in (*STORED, "half", "float", "double", "long", "int", "complex64")}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{module}.scalar"] = _numpy_scalar
        table[f"{module}._reconstruct"] = _record("numpy.ndarray")
    for module in ("pathlib", "pathlib._local"):
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"):
            table[f"{module}.{name}"] = _path
    for module in ("builtins", "__builtin__"):
        table |= {f"{module}.{name}": _same for name in ("set", "frozenset")}
        types = (
            "int",
            "float",
            "bool",
            "str",
            "bytes",
            "list",
            "dict",
            "tuple",
            "object",
            "complex",
            "slice",
        )
        table |= {f"{module}.{name}": None for name in types}
    return {name: Constructor(name, make) for name, make in table.items()}


CONSTRUCTORS = _constructors()
