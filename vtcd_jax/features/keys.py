"""Keys of stored work: digests of everything that values depend on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

FORMAT = "features/1"  # changes when the same inputs give other values


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of arrays (dtype, shape, values) and of values whose ``repr`` identifies them."""
    sha = hashlib.sha256(FORMAT.encode())
    for part in parts:
        array = part if isinstance(part, np.ndarray) else None
        head = f"{array.dtype.name}{array.shape}" if array is not None else repr(part)
        sha.update(f"{len(head)}:{head}".encode())
        if array is not None:
            sha.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def tree_digest(tree: Any) -> str:
    """Digest of a pytree of arrays."""
    leaves, structure = jax.tree.flatten(tree)
    return digest(str(structure), *(np.asarray(leaf) for leaf in leaves))


def function_digest(function: Callable[..., Any], *shapes: Any) -> str:
    """Digest of a function's computation: its traced operations for inputs of these shapes, and every array in it.

    Equal operations give equal digests whatever the function is called and wherever it is defined.
    """
    traced = jax.make_jaxpr(function)(*shapes)
    text = re.sub(r" at 0x[0-9a-f]+", "", str(traced))  # addresses of this process
    return digest(text, *_arrays(traced))


def _arrays(part: Any) -> Iterator[np.ndarray]:
    """Every array that traced operations hold, those of functions inside them among them, in order."""
    if isinstance(part, ClosedJaxpr):
        yield from (np.asarray(value) for value in part.consts)
        yield from _arrays(part.jaxpr)
    elif isinstance(part, Jaxpr):
        for operation in part.eqns:
            yield from (np.asarray(value.val) for value in operation.invars if isinstance(value, Literal))
            yield from _arrays(operation.params)
    elif isinstance(part, (np.ndarray, jax.Array)):
        yield np.asarray(part)
    elif isinstance(part, Mapping):
        yield from (array for name in sorted(part) for array in _arrays(part[name]))
    elif isinstance(part, (tuple, list)):
        yield from (array for inner in part for array in _arrays(inner))
