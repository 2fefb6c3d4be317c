"""What stands for the names in a checkpoint's pickle: constructors of our own, inert records, or a refusal.

A name is only ever looked up in the table below. Three kinds come out:

    in the table            a pure function of ours that makes numbers, texts, dicts or tensors
    of another package      an inert ``Record``, however it is called: Lightning's callbacks, omegaconf, enums
    of Python, torch, numpy  functions end the reading, for this is how hostile pickles are made; so does a class of
                            Python when it is called

The classes of Python's own modules in ``INERT`` (dates, decimals, deques, …) are plain data and become records too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .pickles import Constructor, PickleError, Record, refused

# Modules of Python whose classes hold data and whose construction has no effect.
INERT = (
    "datetime", "decimal", "fractions", "uuid", "enum", "collections", "re", "zoneinfo", "ipaddress", "random", "time",
    "array", "logging", "http", "typing", "dataclasses", "string", "numbers", "statistics", "_datetime", "_decimal",
    "argparse",
)  # fmt: skip
GUARDED = {*sys.stdlib_module_names, "__builtin__", "copy_reg"}
QUANTISED = ("_rebuild_qtensor", "QInt8Storage", "QUInt8Storage", "QInt32Storage", "LinearPackedParamsBase")


def lookup(table: Mapping[str, Constructor], module: str, attribute: str) -> Constructor:
    """What stands for ``module.attribute``. Raises PickleError for quantised tensors, which have no table."""
    path = f"{module}.{attribute}"
    if path in table:
        return table[path]
    if attribute in QUANTISED:
        raise PickleError("it holds quantised tensors, of which the unquantised weights are needed")
    if is_inert(module, attribute):
        return Constructor(path, _record(path))
    if not _is_class(attribute.rpartition(".")[2]):
        raise refused(path)
    return Constructor(path)


def is_inert(module: str, attribute: str) -> bool:
    """Whether a call of ``module.attribute`` may become a record; attribute may be dotted, for nested classes."""
    top, classes = module.partition(".")[0], all(map(_is_class, attribute.split(".")))
    if top in ("torch", "numpy"):
        return classes  # optimisers, modules, generators; their functions read files and run code
    return (classes or "." not in attribute) if module in INERT else top not in GUARDED


def _is_class(name: str) -> bool:
    return name.lstrip("_")[:1].isupper()


def attribute_of(target: Any = None, name: Any = None, *rest: Any) -> Constructor:
    """``getattr(Outer, "Inner")``, as older pickles write a nested class: a record of both names."""
    if not isinstance(target, Constructor) or not isinstance(name, str) or rest or target.make is None:
        raise refused("builtins.getattr")
    path = f"{target.name}.{name}"
    return Constructor(path, _record(path))


def type_of(value: Any = "", *_: Any) -> Constructor:
    """``type(None)``, which is how pickles write the class of None."""
    if value is not None:
        raise refused("builtins.type")
    return Constructor("builtins.NoneType")


def item_of(target: Any = None, *_: Any) -> Record:
    """``Optional[int]`` and the like, which pickles write as an item of a name of ``typing``."""
    if not isinstance(target, Constructor) or not target.name.startswith("typing."):
        raise refused("operator.getitem")
    return Record(target.name)


# -- constructors that need no file ----------------------------------------------------------------------------------
def _same(values: Any = (), *_: Any) -> Any:
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


def _plain_names() -> dict[str, Callable[..., Any] | None]:
    table: dict[str, Callable[..., Any] | None] = {
        "collections.OrderedDict": _no_items,
        "collections.defaultdict": _no_items,
        "collections.Counter": _same,
        "torch.Size": _same,
        "torch.device": _text,
        "torch.serialization._get_layout": _text,
        "torch.jit._pickle.restore_type_tag": _same,
        "argparse.Namespace": _record("argparse.Namespace"),
        "types.SimpleNamespace": _record("types.SimpleNamespace"),
        "_codecs.encode": _text,
        "copy_reg._reconstructor": _reconstruct,
        "copyreg._reconstructor": _reconstruct,
        "operator.getitem": item_of,
        "_operator.getitem": item_of,
        "numpy.dtype": _numpy_dtype,
        "numpy.random._pickle.__generator_ctor": _record("numpy.random.Generator"),
        "numpy.random._pickle.__bit_generator_ctor": _record("numpy.random.BitGenerator"),
        "numpy.ndarray": None,
    }
    table |= {f"torch.jit._pickle.build_{kind}list": _same for kind in ("int", "double", "bool", "tensor")}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        table[f"{module}.scalar"] = _numpy_scalar
        table[f"{module}._reconstruct"] = _record("numpy.ndarray")
    for module in ("pathlib", "pathlib._local"):
        for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"):
            table[f"{module}.{name}"] = _path
    for module in ("builtins", "__builtin__"):
        table |= {f"{module}.{name}": _same for name in ("set", "frozenset")}
        table |= {f"{module}.getattr": attribute_of, f"{module}.type": type_of}
        types = ("int", "float", "bool", "str", "bytes", "list", "dict", "tuple", "object", "complex", "slice")
        table |= {f"{module}.{name}": None for name in types}
    return table


PLAIN_NAMES = _plain_names()
