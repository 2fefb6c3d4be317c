"""The run-time checker of shapes and types that ``conftest.py`` turns on for the whole library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, checking its annotations at each call.

    Constructors of dataclasses are left alone: jax rebuilds a pytree around shapes, shardings or placeholders
    instead of arrays, and must be able to.
    """
    return function if function.__name__ == "__init__" else beartype(function)
