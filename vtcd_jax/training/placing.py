"""Placement of a training's arrays: on one device, or with each batch split over the devices of a mesh.

The compiled step is one program over the whole batch, so averages over clips and a task's sums over the batch include
all devices.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vtcd_jax.base.errors import InputError

from .settings import TrainSettings
from .step import in_parts
from .task import Batch


def check_devices(settings: TrainSettings, devices: int) -> None:
    """Raises InputError if a part of a batch cannot be split evenly, and with several processes."""
    if jax.process_count() > 1:
        raise InputError("training needs one process for all devices; start one process")
    clips = settings.batch // settings.accumulation
    if clips % devices:
        raise InputError(
            f"{clips} clips (batch / accumulation) cannot be split over {devices} devices; give a multiple of them"
        )


def place_state(tree: Any, mesh: Mesh | None) -> Any:
    """Arrays of a pytree on every device."""
    return jax.device_put(tree, jax.devices()[0] if mesh is None else NamedSharding(mesh, PartitionSpec()))


def place_batch(batch: Batch, settings: TrainSettings, mesh: Mesh | None) -> Batch:
    """The batch in its parts, the clips of each split over all axes of the mesh.

    Raises InputError for arrays of the wrong size.
    """
    size = _clips_in(batch)
    short = size < settings.batch and settings.accumulation == 1 and mesh is None  # the last batch of an epoch
    if size != settings.batch and not short:
        raise InputError(f"the task's batch has {size} clips, not {settings.batch}; leave out short batches")
    parts = in_parts(batch, settings.accumulation)
    if mesh is None:
        return jax.device_put(parts, jax.devices()[0])
    split = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names))
    return Batch(jax.device_put(parts.clips, split), place_state(parts.shared, mesh))


def _clips_in(batch: Batch) -> int:
    sizes = {name: array.shape[0] for name, array in batch.clips.items()}
    if len(set(sizes.values())) != 1 or not min(sizes.values()):
        raise InputError(f"the arrays of the task's batch differ in their number of clips: {sizes}")
    return next(iter(sizes.values()))
