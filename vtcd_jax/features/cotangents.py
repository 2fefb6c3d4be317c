"""Cotangents of ``between``: the same for all clips, each clip's own, or a function of the value at the upper site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.data import ClipSource
from vtcd_jax.models import InputError

from .keys import digest, function_digest, tree_digest

Cotangents = np.ndarray | jax.Array | Callable[..., jax.Array]


@dataclass(frozen=True, eq=False)
class Given:
    """Cotangents as a call takes them.

    count:    number per clip.
    shape:    shape of the upper site.
    shared:   float32 [cotangent, …], for all clips, or None.
    per_clip: float32 [video, cotangent, …], or the function's arguments, a pytree [video, …]; or None.
    function: makes cotangents from the value and the arguments, or None.
    """

    count: int
    shape: tuple[int, ...]
    shared: np.ndarray | None = None
    per_clip: Any = None
    function: Callable[..., jax.Array] | None = None

    def rows(self, videos: list[int]) -> Any:
        """Values of the clips of a call, [clip, …]."""
        return jax.tree.map(lambda array: np.asarray(array)[videos], self.per_clip)

    def key(self) -> str:
        """A hash of what the cotangents of all clips depend on."""
        function = None
        if self.function is not None:
            function = function_digest(self.function, *_examples(self.shape, self.per_clip))
        return digest(self.count, function, self.shared)

    def clip_key(self, video: int) -> str:
        """A hash of what only those of one clip depend on."""
        return tree_digest(jax.tree.map(lambda array: np.asarray(array)[video], self.per_clip))

    @staticmethod
    def on_device(function: Callable[..., jax.Array] | None, value: jax.Array, per_clip: Any, shared: Any) -> jax.Array:
        """float32 [cotangent, …] of one clip."""
        if function is None:
            return per_clip if shared is None else shared
        value = jax.lax.stop_gradient(value)
        rows = function(value) if per_clip is None else function(value, per_clip)
        return jnp.asarray(rows, jnp.float32)


def given_cotangents(clips: ClipSource, cotangents: Cotangents, arguments: Any, shape: tuple[int, ...]) -> Given:
    """Checks cotangents for an upper site of this shape. Raises InputError for another form."""
    if callable(cotangents):
        return _from_function(clips, cotangents, arguments, shape)
    if arguments is not None:
        raise InputError("arguments belong to a function that makes the cotangents; leave them out")
    array = np.asarray(cotangents, np.float32)
    each = array.ndim == len(shape) + 2  # cotangents for each clip
    _check_shape(array.shape[1:] if each else array.shape, shape)
    if each and len(array) != len(clips):
        raise InputError(f"{len(clips)} clips, but cotangents of {len(array)}; give rows for each, in their order")
    if not np.isfinite(array).all():
        raise InputError("the cotangents are not all finite; a distance of 0 has no slope, add a small number to it")
    return Given(array.shape[1], shape, per_clip=array) if each else Given(len(array), shape, shared=array)


def _from_function(
    clips: ClipSource, function: Callable[..., jax.Array], arguments: Any, shape: tuple[int, ...]
) -> Given:
    for array in jax.tree.leaves(arguments):
        if np.ndim(array) == 0 or len(array) != len(clips):
            raise InputError(
                f"{len(clips)} clips, but an argument of shape {list(np.shape(array))}; give a row for each"
            )
    try:
        rows = jax.eval_shape(function, *_examples(shape, arguments))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"the function that makes the cotangents fails: {reason}") from error
    _check_shape(tuple(getattr(rows, "shape", ())), shape)
    return Given(rows.shape[0], shape, per_clip=arguments, function=function)


def _examples(shape: tuple[int, ...], arguments: Any) -> tuple[Any, ...]:
    """Shapes of the function's arguments."""
    value = jax.ShapeDtypeStruct(shape, jnp.float32)
    if arguments is None:
        return (value,)
    canonical = jax.dtypes.canonicalize_dtype
    return value, jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], canonical(np.asarray(a).dtype)), arguments
    )


def _check_shape(given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    fits = len(given) == len(shape) + 1 and all(a in (1, b) for a, b in zip(given[1:], shape, strict=True))
    if not fits or given[0] < 1:
        wanted = f"[cotangent, {', '.join(map(str, shape))}]"
        raise InputError(
            f"cotangents of shape {list(given)} do not fit the upper site; give {wanted}, or one of these per clip"
        )
