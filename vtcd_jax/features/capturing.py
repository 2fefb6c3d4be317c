"""Values of sites over a set of clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vtcd_jax.data import ClipSource
from vtcd_jax.devices.precision import cast
from vtcd_jax.models import Model, fingerprint, forward
from vtcd_jax.runs import Step, Work

from .calls import Batch, Values, check_clips, fixed, host_inputs, result_dtype, run
from .keys import digest
from .layout import chosen_sites, pooled_axes
from .streaming import Block, Task, clip_blocks, shard_size, stacked

CAPTURE = Step("capture", "features", "clip")


@dataclass(frozen=True)
class Captured:
    """Static settings of the compiled function. sites: (name, axes to average) of each."""

    sites: tuple[tuple[str, tuple[int, ...]], ...]
    pool: str | None
    dtype: str


def capture(
    model: Model,
    clips: ClipSource,
    sites: str | Sequence[str],
    *,
    pool: str | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    work: Work = Work(),  # noqa: B008 (frozen)
) -> dict[str, np.ndarray]:
    """Values of sites: site -> [video, …site shape…], rows in the order of ``clips``.

    sites: names of ``vtcd.models.sites``, which may differ in grid and channels; a string is one site.
    pool:  None, every value; "space", the mean over height and width; "all", the mean over time, height and width
           (see ``layout`` for special tokens and vectors). Means are taken on the device, in float32.
    dtype: "float32" or "bfloat16", of the network and the values; pooled values are float32.
    mesh:  devices with an axis "video", over which clips are distributed; None: the default device.
    work:  stores one block per clip, ``capture/<clip>-<key>``. With a shard only its clips are computed and returned.

    Clips are computed one at a time (one per device), so values do not depend on the other clips. Memory on the device
    does not grow with their number; use ``capture_blocks`` if the result does not fit on the host.

    Raises InputError for unknown sites, with the nearest names, for clips of the wrong form, and for values that are
    not finite; KeyboardInterrupt after ``work.stop``.
    """
    blocks = capture_blocks(model, clips, sites, pool=pool, dtype=dtype, mesh=mesh, work=work)
    return stacked(blocks, shard_size(clips, work), tuple(chosen_sites(model, sites)))


def capture_blocks(
    model: Model,
    clips: ClipSource,
    sites: str | Sequence[str],
    *,
    pool: str | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    work: Work = Work(),  # noqa: B008
) -> Iterator[Block]:
    """As ``capture``, one clip after the other: (row of the clip, site -> its values without an axis for the clip)."""
    check_clips(model, clips, dtype)
    shapes = dict(sorted(chosen_sites(model, sites).items()))  # the order of the sites changes neither key nor program
    settings = Captured(tuple((name, pooled_axes(name, shapes[name], pool)) for name in shapes), pool, dtype)
    on_devices = fixed(model, mesh)
    task = Task(
        CAPTURE,
        clips,
        batch=lambda videos: Batch(host_inputs(model, clips, videos)),
        call=lambda batch: run(_values, settings, mesh, on_devices, batch, None),
        mesh=mesh,
        key=None if work.store is None else digest(fingerprint(model), settings),
    )
    return clip_blocks(task, work)


def _values(settings: Captured, model: Model, batch: Batch, shared: Any) -> Values:
    """site -> [1, …]."""
    names = tuple(name for name, _ in settings.sites)
    values = forward(cast(model, settings.dtype), cast(batch.inputs, settings.dtype), capture=names)[1]
    dtype = result_dtype(settings.dtype, settings.pool)
    return {name: _mean(values[name], axes).astype(dtype) for name, axes in settings.sites}


def _mean(value: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return value.astype(jnp.float32).mean(axes) if axes else value
