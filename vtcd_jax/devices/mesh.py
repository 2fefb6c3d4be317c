"""Arrays on devices: one, or a mesh over (video, mask), in one process or many.

Every process holds the same host arrays and puts its part of them on its devices.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vtcd_jax.models import InputError


def make_mesh(video: int | None = None, mask: int | None = None) -> Mesh:
    """All devices of all processes, ``video`` x ``mask`` of them; one that is None is computed from the other.

    By default the rows of one clip are divided among all devices. Raises InputError where the product differs from
    the number of devices.
    """
    devices = jax.device_count()
    video = 1 if video is None and mask is None else video
    video = devices // mask if video is None and mask else video
    mask = devices // video if mask is None and video else mask
    if not video or not mask or video * mask != devices:
        raise InputError(f"a mesh of {video} x {mask} devices does not fit: there are {devices}")
    return jax.make_mesh((video, mask), ("video", "mask"), axis_types=(jax.sharding.AxisType.Auto,) * 2)


def axis_size(mesh: Mesh | None, axis: str) -> int:
    """Devices along an axis; 1 without a mesh."""
    return 1 if mesh is None else mesh.shape[axis]


def put(tree: Any, mesh: Mesh | None, spec: PartitionSpec) -> Any:
    """Arrays of a pytree on the default device, or over a mesh."""
    if mesh is None:
        return jax.tree.map(jnp.asarray, tree)
    sharding = NamedSharding(mesh, spec)

    def on_mesh(array: Any) -> jax.Array:
        if isinstance(array, jax.Array) and array.sharding == sharding:
            return array
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(on_mesh, tree)
