"""The compiled masked pass: one clip, one row of gates -> its scores; and blocks of (clip, rows), over devices.

    task      one clip with a block of rows; a call takes as many tasks as the mesh has places along ``video``
    gates     float [task, row, concept]; rows are spread over the mesh's axis ``mask``

Parameters are arguments, so weights are not baked in, and everything of token size is made on the device. In bfloat16
the network computes with 16 bits; what it predicts is turned to float32 before it is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vtcd_jax.models import Inputs, Model, Output, forward
from vtcd_jax.scores.functions import Context, Score

from .support import edits

VIDEO, MASK = "video", "mask"


@dataclass(frozen=True)
class Passes:
    """What a compiled call depends on beside shapes.

    functions: scores by name.  chunk: rows that run together.  mode: see ``support``.  dtype: "float32" or "bfloat16".
    mesh: devices along ``video`` and ``mask``, or None for one device.
    """

    functions: tuple[tuple[str, Score], ...]
    chunk: int = 1
    mode: str = "zero"
    dtype: str = "float32"
    mesh: Mesh | None = None


@struct.dataclass
class ClipArguments:
    """The clips' part of a call, [task, …].

    pixels: uint8 RGB.  ids, weight: as in ``Support``.  label: int.  query, mask: [task, time, height, width] or None.
    fill: site -> what removed values become, [task, head, channel] (mode "mean").
    donor, donor_query: the clip whose values are taken (mode "resample").
    """

    pixels: jax.Array
    ids: dict[str, jax.Array]
    weight: dict[str, jax.Array]
    label: jax.Array
    query: jax.Array | None = None
    mask: jax.Array | None = None
    fill: dict[str, jax.Array] | None = None
    donor: jax.Array | None = None
    donor_query: jax.Array | None = None


def batch_of_one(clip: Any) -> Any:
    """Arrays of a single task with a leading axis of one."""
    return jax.tree.map(lambda a: a[None], clip)


def cast(tree: Any, dtype: str) -> Any:
    """Floating-point leaves in ``dtype``."""
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def network_inputs(model: Model, pixels: jax.Array, query: jax.Array | None, dtype: str) -> Inputs:
    """Pixels [batch, …] as the network takes them."""
    p = model.preprocessing
    video = (pixels.astype(jnp.float32) / 255 - jnp.asarray(p.mean, jnp.float32)) / jnp.asarray(p.std, jnp.float32)
    return cast(Inputs(video, query=None if query is None else query.astype(jnp.float32)), dtype)


def context_of(model: Model, clip: ClipArguments) -> Context:
    """What scores look at, for a batch of one."""
    return Context(clip.pixels.astype(jnp.float32) / 255, clip.label, clip.mask, model.config)


def values_of(model: Model, inputs: Inputs, sites: tuple[str, ...]) -> dict[str, jax.Array]:
    """Untouched values of the sites."""
    return forward(model, inputs, capture=sites)[1]


def masked_scores(passes: Passes, model: Model, clip: ClipArguments) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """gates [concept] -> name -> score, for one clip (a batch of one). Differentiable in the gates."""
    model = cast(model, passes.dtype)
    inputs = network_inputs(model, clip.pixels, clip.query, passes.dtype)
    context, fill = context_of(model, clip), filling(passes, model, clip)

    def one(row: jax.Array) -> dict[str, jax.Array]:
        output, _ = forward(model, inputs, edits=edits(row, clip.ids, clip.weight, passes.mode, fill))
        return scored(passes, output, context)

    return one


def filling(passes: Passes, model: Model, clip: ClipArguments) -> dict[str, jax.Array] | None:
    """What removed values become: site -> array that broadcasts against the site; None: 0, or they stay."""
    if passes.mode == "mean":
        assert clip.fill is not None
        return {site: value[:, None, None, None] for site, value in clip.fill.items()}
    if passes.mode == "resample":
        assert clip.donor is not None
        donor = network_inputs(model, clip.donor, clip.donor_query, passes.dtype)
        return values_of(model, donor, tuple(clip.ids))
    return None


def scored(passes: Passes, output: Output, context: Context) -> dict[str, jax.Array]:
    """name -> float32 score of a batch of one."""
    output = cast(output, "float32")
    return {name: function(output, context)[0].astype(jnp.float32) for name, function in passes.functions}


@partial(jax.jit, static_argnums=0)
def run_block(passes: Passes, model: Model, clips: ClipArguments, gates: jax.Array) -> dict[str, jax.Array]:
    """Scores name -> float32 [task, row]; compiled once per (``passes``, network, shapes)."""

    def task(parts: tuple[ClipArguments, jax.Array], model: Model) -> dict[str, jax.Array]:
        clip, rows = parts
        one = masked_scores(passes, model, batch_of_one(clip))
        return jax.lax.map(one, rows) if passes.chunk == 1 else jax.lax.map(one, rows, batch_size=passes.chunk)

    def tasks(model: Model, clips: ClipArguments, gates: jax.Array) -> dict[str, jax.Array]:
        if len(gates) == 1:  # no loop around the loop
            return batch_of_one(task((jax.tree.map(lambda a: a[0], clips), gates[0]), model))
        return jax.lax.map(lambda parts: task(parts, model), (clips, gates))

    if passes.mesh is None:
        return tasks(model, clips, gates)
    specs = {"in_specs": (P(), P(VIDEO), P(VIDEO, MASK)), "out_specs": P(VIDEO, MASK)}
    found = jax.shard_map(tasks, mesh=passes.mesh, check_vma=False, **specs)(model, clips, gates)
    return jax.lax.with_sharding_constraint(found, NamedSharding(passes.mesh, P()))
