"""Precision of passes: float32, or 16 bits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vtcd_jax.base.errors import InputError


def resolved_dtype(dtype: str | None) -> str:
    """float32 on the CPU and bfloat16 on accelerators, where none is given. Raises InputError for another one."""
    if dtype is None or dtype == "auto":
        return "float32" if jax.default_backend() == "cpu" else "bfloat16"
    if dtype not in ("float32", "bfloat16"):
        raise InputError(f"unknown dtype {dtype!r}; known: float32, bfloat16, auto")
    return dtype


def cast(tree: Any, dtype: str) -> Any:
    """Floating-point leaves in ``dtype``."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)
