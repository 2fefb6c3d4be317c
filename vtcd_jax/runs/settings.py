"""Settings as frozen dataclasses: to JSON for ``config.json``, back again, and from a TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from vtcd_jax.base.errors import InputError, nearest

S = TypeVar("S")


def to_plain(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass as JSON-able values, nested dataclasses as mappings."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def from_plain(kind: type[S], values: dict[str, Any], where: str = "") -> S:
    """Settings of a kind from plain values, as ``to_plain`` gives them; missing fields keep their defaults.

    where: prefix of the names in messages. Raises InputError for unknown and for missing fields, with the nearest
    names, and for values of another type than the field's.
    """
    try:
        return kind(**checked_fields(kind, values, where))
    except TypeError as error:
        raise InputError(f"{where or 'settings'}: {error}") from None


def checked_fields(kind: type, values: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The values of a kind's fields, converted to their types. Raises InputError as ``from_plain`` does."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for name in values:
        if name not in names:
            raise InputError(f"{where}{name}: no such setting; nearest: {nearest(name, names)}")
    return {name: _value(hints[name], value, f"{where}{name}") for name, value in values.items()}


def read_toml(path: str | Path) -> dict[str, Any]:
    """The values of a TOML file; groups of settings are tables. Raises InputError, naming the file."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no TOML file ({error})") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _value(hint: Any, value: Any, name: str) -> Any:
    """A plain value, converted to its field's type."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if value is None else _value(inner[0], value, name) if len(inner) == 1 else value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise InputError(f"{name}: is a group of settings, got {value!r}")
        return from_plain(typing.cast(type, hint), value, f"{name}.")
    if hint is Path:
        return Path(value)
    allowed = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    if allowed and value not in allowed:
        raise InputError(f"{name}: {value!r} is unknown; give one of {', '.join(map(str, allowed))}")
    fitting = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}
    if hint in fitting and type(value) not in fitting[hint]:
        raise InputError(f"{name}: {value!r} is no {hint.__name__}")
    return tuple(value) if isinstance(value, list) else value
