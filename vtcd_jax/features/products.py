"""Derivatives of values at one site with respect to values at sites before it, as vector-Jacobian products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vtcd_jax.data import ClipSource
from vtcd_jax.devices.cpu import max_batch, on_cpu
from vtcd_jax.devices.precision import cast
from vtcd_jax.models import InputError, Model, fingerprint, forward
from vtcd_jax.runs import Step, Work

from .calls import Batch, Values, check_clips, fixed, host_inputs, result_dtype, run
from .cotangents import Cotangents, Given, given_cotangents
from .keys import digest
from .layout import chosen_sites, clip_sites
from .shifting import Shifts, edits, shifts_of, without_pooled, zeros
from .streaming import Block, Task, clip_blocks, shard_size, stacked

BETWEEN = Step("between", "derivatives between sites", "clip")


@dataclass(frozen=True)
class Joined:
    """Static settings of the compiled function. function: makes the cotangents on the device, or None."""

    shifts: Shifts
    upper: str
    function: Callable[..., jax.Array] | None
    pool: str | None
    dtype: str
    chunk: int


def between(
    model: Model,
    clips: ClipSource,
    lower: str | Sequence[str],
    upper: str,
    cotangents: Cotangents,
    *,
    arguments: Any = None,
    pool: str | None = None,
    chunk: int | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    work: Work = Work(),  # noqa: B008 (frozen)
) -> dict[str, np.ndarray]:
    """Derivatives of values at ``upper`` by values at lower sites: site -> [video, cotangent, …site shape…].

    Row c of a clip is the derivative of ``sum(cotangents[c] * value at upper)``. One pass forward for each clip, and
    one vector-Jacobian product for each of its cotangents, for all lower sites together.

    lower:      sites before ``upper`` in the order of ``vtcd.models.sites``. Derivatives of a site without a path to
                ``upper`` (such as the query and the key of one block) are 0.
    cotangents: float [cotangent, …upper shape…] for all clips, or [video, cotangent, …upper shape…]; an axis of length
                1 means equal values along it. Or a function (value) -> [cotangent, …upper shape…] of the
                clip's float32 value [...upper shape...] at ``upper``, which runs on the device between the two
                passes; its result is treated as constant. Each new function object is compiled again, so reuse it,
                and pass values that differ between calls and clips as ``arguments``.
    arguments:  a pytree of arrays [video, …]: the function is then called as (value, the clip's rows).
    pool:       None, or "space" or "all", sums over positions as in ``gradient``.
    chunk:      cotangents that run together; None: 1 on a CPU, elsewhere as many as fit. It affects only rounding.
    The others are those of ``capture``. Blocks are named ``between/<clip>-<key>``. The result of one clip must fit in
    memory; else divide the cotangents among several calls.

    Raises InputError for a lower site that does not come before the upper one, for cotangents of another shape, and as
    ``capture`` does.
    """
    settings: dict[str, Any] = {"arguments": arguments, "pool": pool, "chunk": chunk, "dtype": dtype, "mesh": mesh}
    blocks = between_blocks(model, clips, lower, upper, cotangents, work=work, **settings)
    return stacked(blocks, shard_size(clips, work), tuple(chosen_sites(model, lower)))


def between_blocks(
    model: Model,
    clips: ClipSource,
    lower: str | Sequence[str],
    upper: str,
    cotangents: Cotangents,
    *,
    arguments: Any = None,
    pool: str | None = None,
    chunk: int | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    work: Work = Work(),  # noqa: B008
) -> Iterator[Block]:
    """As ``between``, one clip after the other: (row of the clip, site -> [cotangent, …site shape…])."""
    check_clips(model, clips, dtype)
    shifts = shifts_of(chosen_sites(model, lower), pool)
    given = given_cotangents(clips, cotangents, arguments, _upper_shape(model, [name for name, *_ in shifts], upper))
    settings = Joined(shifts, upper, given.function, pool, dtype, _chunk(model, chunk, given.count))
    on_devices, shared = fixed(model, mesh), fixed(given.shared, mesh)
    task = Task(
        BETWEEN,
        clips,
        batch=lambda videos: Batch(host_inputs(model, clips, videos), extra=given.rows(videos)),
        call=lambda batch: run(_products, settings, mesh, on_devices, batch, shared),
        mesh=mesh,
        key=None if work.store is None else digest(fingerprint(model), shifts, upper, pool, dtype, given.key()),
        clip_key=given.clip_key,
    )
    return clip_blocks(task, work)


def _upper_shape(model: Model, lower: Sequence[str], upper: str) -> tuple[int, ...]:
    """Shape of the upper site without its batch. Raises InputError for lower sites that do not come before it."""
    if not isinstance(upper, str):
        raise InputError(f"the upper site is one name; got {upper!r}")
    shape = chosen_sites(model, upper)[upper]
    order = list(clip_sites(model))
    late = [name for name in lower if order.index(name) >= order.index(upper)]
    if late:
        raise InputError(f"{', '.join(late)}: not before the upper site {upper!r}; exchange them, or choose others")
    return shape[1:]


def _chunk(model: Model, chunk: int | None, cotangents: int) -> int:
    """Cotangents that run together: a backward pass holds at most as much as all sites."""
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk {chunk} must be at least 1 (cotangents that run together)")
    if chunk is not None or on_cpu():
        return min(chunk or 1, cotangents)
    return max_batch(cotangents, 4 * sum(int(np.prod(shape)) for shape in clip_sites(model).values()))


def _products(settings: Joined, model: Model, batch: Batch, shared: Any) -> Values:
    """site -> [1, cotangent, …]."""
    model, inputs = cast(model, settings.dtype), cast(batch.inputs, settings.dtype)

    def upper_value(shift: Values) -> jax.Array:
        captured = forward(model, inputs, edits=edits(shift), capture=(settings.upper,))[1]
        return captured[settings.upper][0].astype(jnp.float32)

    value, pull = jax.vjp(upper_value, zeros(settings.shifts))
    rows = Given.on_device(settings.function, value, jax.tree.map(lambda a: a[0], batch.extra), shared)

    def product(row: jax.Array) -> Values:
        (slopes,) = pull(jnp.broadcast_to(row, value.shape))
        dtype = result_dtype(settings.dtype, settings.pool)
        return {name: slope[0] for name, slope in without_pooled(settings.shifts, slopes, dtype).items()}

    products = jax.lax.map(product, rows, batch_size=None if settings.chunk == 1 else settings.chunk)
    return {name: slopes[None] for name, slopes in products.items()}
