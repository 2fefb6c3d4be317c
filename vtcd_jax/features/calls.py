"""A compiled call on clips: its inputs on the devices, and the function over them, one clip per device.

The network computes in the dtype that is asked for; in float32 its matrix products are of the highest precision, so
that values are those of discovery on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vtcd_jax.data import ClipSource
from vtcd_jax.data.inputs import check_query
from vtcd_jax.devices.mesh import put
from vtcd_jax.models import InputError, Inputs, Model

VIDEO = "video"
DTYPES = ("float32", "bfloat16")
Values = dict[str, jax.Array]


@struct.dataclass
class Batch:
    """Inputs that differ between clips, each [clip, …].

    inputs: normalised pixels and query.
    pixels: uint8 RGB, or None where they are not needed.
    label:  int32.
    mask:   bool [clip, time, height, width], the target mask of a tracker.
    extra:  a pytree.
    """

    inputs: Inputs
    pixels: Any = None
    label: Any = None
    mask: Any = None
    extra: Any = None


def check_clips(model: Model, clips: ClipSource, dtype: str) -> None:
    """Raises InputError for no clips, for clips of the wrong form, and for an unknown dtype."""
    p = model.preprocessing
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    if not len(clips):
        raise InputError("no clips given")
    expected, size = (p.num_frames, p.height, p.width), clips.read([0]).video.shape[1:4]
    if tuple(size) != expected:
        raise InputError(f"clips of {list(size)} (frames, height, width), but {model.name!r} takes {list(expected)}")
    check_query(model, clips)


def host_inputs(model: Model, clips: ClipSource, videos: list[int]) -> Inputs:
    """Normalised clips of a call, as host arrays."""
    chosen = clips.read(videos)
    query = None if chosen.query is None else np.asarray(chosen.query, np.float32)
    return Inputs(video=model.preprocessing.normalise(chosen.video), query=query)  # type: ignore[arg-type]


def result_dtype(dtype: str, pool: str | None) -> str:
    """Pooled values are float32; others have the network's dtype."""
    return "float32" if pool is not None else dtype


def placed(batch: Batch, mesh: Mesh | None) -> Batch:
    """The batch on the devices, one clip per device along the mesh's axis ``video``."""
    return put(batch, mesh, P(VIDEO))


def fixed(tree: Any, mesh: Mesh | None) -> Any:
    """Arrays common to all clips, on every device."""
    return put(tree, mesh, P())


@partial(jax.jit, static_argnums=(0, 1, 2))
def run(
    function: Callable[..., Values], settings: Hashable, mesh: Mesh | None, model: Model, batch: Batch, shared: Any
) -> Values:
    """``function(settings, model, batch, shared)`` on batches of one clip: name -> [clip, …], on every device.

    Compiled once per function, settings, mesh and shapes.
    """

    def one(model: Model, batch: Batch, shared: Any) -> Values:
        with jax.default_matmul_precision("highest"):
            return function(settings, model, batch, shared)

    if mesh is None:
        return one(model, batch, shared)
    specs = {"in_specs": (P(), P(VIDEO), P()), "out_specs": P(VIDEO)}
    values = jax.shard_map(one, mesh=mesh, check_vma=False, **specs)(model, batch, shared)
    return jax.lax.with_sharding_constraint(values, NamedSharding(mesh, P()))
