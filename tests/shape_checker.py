"""The run-time checker of shapes and types that ``conftest.py`` turns on for the whole library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

# As Python's type checkers have it, an int is taken where a float is asked for.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, checking its annotations at each call.

    Constructors of dataclasses are left alone: jax rebuilds a pytree around shapes, shardings or placeholders
    instead of arrays, and must be able to.
    """
    return function if function.__name__ == "__init__" else _checked(function)
