"""Reads the index of a ``.safetensors`` file: eight bytes of length, a JSON header, then raw little-endian tensors.

Everything is checked before anything is used: the header's length, each dtype, each shape against its byte range, and
that the ranges fill the file without gap or overlap (as the format demands).
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError

from .tensors import MAX_AXES, STORED, LazyTensor, file_size, row_major

MAX_HEADER = 32 * 2**20
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_QUANTISED = ("F8_", "F6_", "F4", "E8M0", "I4", "U4")
_ITEMSIZE = {name: int(code[2:]) for name, code in STORED.items()}


def read_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Name -> tensor. Raises InputError for anything the format does not allow."""
    size = file_size(path)
    header, begin = _header(path, size)
    header.pop("__metadata__", None)
    ranges: list[tuple[int, int, str]] = []
    tensors: dict[str, LazyTensor] = {}
    for name, entry in header.items():
        dtype, shape, start, end = _entry(path, name, entry)
        if begin + end > size:
            raise _broken(path, f"tensor {name!r} ends at byte {begin + end}, the file at {size}: it is truncated")
        ranges.append((start, end, name))
        tensors[name] = LazyTensor(path, begin + start, shape, row_major(shape), dtype)
    _check_cover(path, sorted(ranges), size - begin)
    return tensors


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or length < 2 or length > size - 8:
            raise _broken(path, f"its header should be {length} bytes long, the file has {size}")
        if length > MAX_HEADER:
            raise _broken(path, f"its header of {length} bytes is larger than any real one ({MAX_HEADER})")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise _broken(path, f"its header is no valid JSON ({reason})") from None
    if not isinstance(header, dict):
        raise _broken(path, "its header is no JSON object")
    return header, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _entry(path: Path, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _broken(path, f"tensor {name!r} is not described by dtype, shape and data_offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if isinstance(entry["dtype"], str) and entry["dtype"].startswith(_QUANTISED):
        raise InputError(
            f"{path} holds quantised weights ({name[:80]}, {entry['dtype'][:20]}); give the unquantised checkpoint "
            "(float32, float16 or bfloat16)"
        )
    if dtype is None:
        raise _broken(path, f"tensor {name!r} has dtype {entry['dtype']!r}; known: {', '.join(_DTYPES)}")
    if not _whole_numbers(entry["shape"]) or len(entry["shape"]) > MAX_AXES:
        raise _broken(path, f"tensor {name!r} has no valid shape")
    if not _whole_numbers(entry["data_offsets"]) or len(entry["data_offsets"]) != 2:
        raise _broken(path, f"tensor {name!r} has no valid data_offsets")
    shape, (start, end) = tuple(entry["shape"]), entry["data_offsets"]
    if end - start != math.prod(shape) * _ITEMSIZE[dtype]:
        raise _broken(path, f"tensor {name!r}: {dtype}{list(shape)} does not take {end - start} bytes")
    return dtype, shape, start, end


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def _check_cover(path: Path, ranges: list[tuple[int, int, str]], total: int) -> None:
    at = 0
    for start, end, name in ranges:
        if start != at:
            raise _broken(
                path,
                f"tensor {name!r} {'overlaps' if start < at else 'leaves a gap after'} the one before it",
            )
        at = end
    if at != total:
        raise _broken(path, f"{total - at} bytes behind the last tensor belong to nothing")


def _broken(path: Path, what: str) -> InputError:
    return InputError(f"{path} is not a valid safetensors file: {what}; download or export it again")
