"""Class names from a text file, a JSON list, or a JSON dict either way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError

from .files.containers import read_json
from .files.tensors import file_size

MAX_BYTES = 32 * 2**20


def read_labels(source: str | Path | Sequence[str] | Mapping[Any, Any], count: int | None = None) -> tuple[str, ...]:
    """Names in logit order.

    source: a ``.json`` file (list, {name: index} or {index: name}), a text file (a name per line), or the same as data.
    count:  classes of the network; None: any number, at least one. Raises InputError when the names are not as many,
    or an index is wrong.
    """
    where = str(source) if isinstance(source, (str, Path)) else "labels"
    if isinstance(source, (str, Path)):
        source = read_json(source) if Path(source).suffix.lower() == ".json" else _lines(Path(source))
    if isinstance(source, Mapping):
        names = _by_index(source, where)
    elif isinstance(source, Sequence) and all(isinstance(name, str) for name in source):
        names = list(source)
    else:
        raise InputError(f"{where}: expected a list of names, or names with their indices")
    if count is None and not names:
        raise InputError(f"{where} has no names; give at least one")
    if count is not None and len(names) != count:
        raise InputError(f"{where} has {len(names)} names, the checkpoint has {count} classes")
    return tuple(names)


def _lines(path: Path) -> list[str]:
    if file_size(path) > MAX_BYTES:
        raise InputError(f"{path} is too large for a list of class names")
    try:
        return path.read_text("utf-8").strip("\r\n").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8; save it again as such") from None


def _by_index(pairs: Mapping[Any, Any], where: str) -> list[str]:
    def index(value: Any) -> int | None:
        text = str(value)
        return int(text) if text.isdecimal() and len(text) < 10 else None

    by_index = {index(v): k for k, v in pairs.items()}
    if None in by_index or len(by_index) != len(pairs):
        by_index = {index(k): v for k, v in pairs.items()}
    if sorted(by_index, key=lambda i: -1 if i is None else i) != list(range(len(pairs))):
        raise InputError(f"{where}: the indices are not 0 to {len(pairs) - 1}, each once")
    return [str(by_index[i]) for i in range(len(pairs))]
