"""Checks of the arguments of probes: each error is one line with the argument and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.base.errors import InputError, nearest


def samples(name: str, X: Any, minimum: int = 1) -> np.ndarray:
    """``X`` as a real array [sample, feature] without NaN or infinity; its dtype stays."""
    X = np.asarray(X)
    if X.dtype == object or np.issubdtype(X.dtype, np.complexfloating) or X.dtype.kind in "SUMm":
        raise InputError(f"{name}: entries of type {X.dtype} are not features; give real numbers [sample, feature]")
    if X.ndim != 2 or X.shape[1] == 0:
        raise InputError(f"{name}: shape {X.shape} is not [sample, feature]; flatten or pool each sample first")
    if len(X) < minimum:
        raise InputError(f"{name}: {len(X)} samples, at least {minimum} are needed; add samples")
    bad = ~np.isfinite(X).all(axis=1)
    if bad.any():
        raise InputError(
            f"{name}: {bad.sum()} of {len(X)} samples hold NaN or infinity, the first is sample {bad.argmax()}; "
            "leave them out, or check the network for overflow"
        )
    return X


def same_features(first: tuple[str, np.ndarray], *others: tuple[str, np.ndarray]) -> None:
    """Refuses arrays [sample, feature] with different numbers of features."""
    name, X = first
    for other, Y in others:
        if Y.shape[1] != X.shape[1]:
            raise InputError(
                f"{other} has {Y.shape[1]} features, {name} has {X.shape[1]}; take both from one site, pooled alike"
            )


def penalty(l2: Any, minimum: float = 0.0, strict: bool = True) -> float:
    """``l2`` as a finite number above ``minimum``."""
    value = np.asarray(l2)
    ok = value.ndim == 0 and value.dtype.kind in "fiu" and np.isfinite(value)
    if not ok or value < minimum or (strict and value == minimum):
        raise InputError(f"l2={l2}: give a finite number {'above' if strict else 'of at least'} {minimum:g}")
    return float(value)


def penalties(l2: Any, minimum: float = 0.0, strict: bool = True) -> np.ndarray:
    """``l2`` as float64 [value]; one number or several."""
    values = np.atleast_1d(np.asarray(l2))
    if values.ndim != 1 or not len(values):
        raise InputError(f"l2={l2}: give one number or a list of numbers")
    return np.array([penalty(value, minimum, strict) for value in values])


def whole(name: str, value: Any, minimum: int) -> int:
    """``value`` as an int of at least ``minimum``."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < minimum:
        raise InputError(f"{name}={value!r}: give a whole number of at least {minimum}")
    return int(value)


def one_of(name: str, value: Any, names: Sequence[str]) -> None:
    """Refuses a value that is none of ``names``."""
    if value not in names:
        raise InputError(
            f"{name}={value!r} is unknown; did you mean {nearest(str(value), names, 1)}? ({', '.join(names)})"
        )


def labels(name: str, y: Any, count: int) -> np.ndarray:
    """``y`` as int64 [sample]."""
    y = np.asarray(y)
    if y.shape != (count,):
        raise InputError(f"{name}: shape {y.shape}, but there are {count} samples; give one label for each")
    if y.dtype.kind == "b":
        y = y.astype(np.int64)
    if y.dtype.kind not in "iu":
        raise InputError(f"{name}: labels of type {y.dtype}; give whole numbers")
    return y.astype(np.int64)


def entropy(seed: int | jax.Array) -> tuple[int, ...]:
    """Words for ``numpy.random.SeedSequence`` from an int or a JAX key."""
    if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return tuple(int(word) for word in np.asarray(jax.random.key_data(seed)).ravel())
    if isinstance(seed, jax.Array) and seed.ndim == 1 and seed.dtype == np.uint32:
        return tuple(int(word) for word in np.asarray(seed))
    return (whole("seed", seed if not isinstance(seed, jax.Array) or seed.ndim else seed.item(), 0),)
