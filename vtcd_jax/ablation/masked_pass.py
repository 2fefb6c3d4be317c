"""The compiled masked pass: one clip, one row of gates -> its scores, or their slopes; blocks of (clip, rows), over
devices.

    task      one clip with a block of rows; a call takes as many tasks as the mesh has devices along ``video``
    gates     float [task, row, concept]; rows are spread over the mesh's axis ``mask``

Parameters are arguments of the compiled function, so weights are not compiled in. Arrays of token size are made on the
device. In bfloat16 the network computes with 16 bits; its predictions are turned to float32 before they are scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vtcd_jax.data.inputs import network_inputs
from vtcd_jax.devices.precision import cast
from vtcd_jax.models import Inputs, Model, Output, forward
from vtcd_jax.scores.functions import Context, Score

from .support import edits

VIDEO, MASK = "video", "mask"
Result = Literal["scores", "slopes"]


@dataclass(frozen=True)
class PassConfig:
    """Static settings of a compiled call.

    functions: scores by name.
    chunk:     rows that run together.
    mode:      see ``support``.
    dtype:     "float32" or "bfloat16".
    mesh:      devices along ``video`` and ``mask``, or None for one device.
    result:    what a row of gates gives: the scores, or the slope of each score along every gate.
    """

    functions: tuple[tuple[str, Score], ...]
    chunk: int = 1
    mode: str = "zero"
    dtype: str = "float32"
    mesh: Mesh | None = None
    result: Result = "scores"


@struct.dataclass
class DeviceBatch:
    """The clips of a call, [task, …].

    pixels:      uint8 RGB.
    ids, weight: as in ``Support``.
    label:       int.
    query, mask: [task, time, height, width] or None.
    fill:        site -> what removed values become, [task, head, channel] (mode "mean").
    donor, donor_query: the clip whose values replace removed ones (mode "resample").
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


def context_of(model: Model, clip: DeviceBatch) -> Context:
    """The context of score functions, for a batch of one."""
    return Context(clip.pixels.astype(jnp.float32) / 255, clip.label, clip.mask, model.config)


def values_of(model: Model, inputs: Inputs, sites: tuple[str, ...]) -> dict[str, jax.Array]:
    """Values of the sites in the unmodified pass."""
    return forward(model, inputs, capture=sites)[1]


def masked_scores(config: PassConfig, model: Model, clip: DeviceBatch) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """gates [concept] -> name -> score, for one clip (a batch of one). Differentiable in the gates."""
    model = cast(model, config.dtype)
    inputs = network_inputs(model, clip.pixels, clip.query, config.dtype)
    context, fill = context_of(model, clip), filling(config, model, clip)

    def one(row: jax.Array) -> dict[str, jax.Array]:
        output, _ = forward(model, inputs, edits=edits(row, clip.ids, clip.weight, config.mode, fill))
        return scored(config, output, context)

    return one


def masked_slopes(config: PassConfig, model: Model, clip: DeviceBatch) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """gates [concept] -> name -> d score / d gates [concept], for one clip: one pass forward, one back per score."""
    one = masked_scores(config, model, clip)

    def slopes(row: jax.Array) -> dict[str, jax.Array]:
        values, back = jax.vjp(one, row)
        none = jax.tree.map(jnp.zeros_like, values)
        return {name: back(none | {name: jnp.ones_like(value)})[0] for name, value in values.items()}

    return slopes


def filling(config: PassConfig, model: Model, clip: DeviceBatch) -> dict[str, jax.Array] | None:
    """What removed values become: site -> array that broadcasts against the site; None: 0, or they stay."""
    if config.mode == "mean":
        assert clip.fill is not None
        return {site: value[:, None, None, None] for site, value in clip.fill.items()}
    if config.mode == "resample":
        assert clip.donor is not None
        donor = network_inputs(model, clip.donor, clip.donor_query, config.dtype)
        return values_of(model, donor, tuple(clip.ids))
    return None


def scored(config: PassConfig, output: Output, context: Context) -> dict[str, jax.Array]:
    """name -> float32 score of a batch of one."""
    output = cast(output, "float32")
    return {name: function(output, context)[0].astype(jnp.float32) for name, function in config.functions}


@partial(jax.jit, static_argnums=0)
def run_block(config: PassConfig, model: Model, clips: DeviceBatch, gates: jax.Array) -> dict[str, jax.Array]:
    """Scores name -> float32 [task, row], or slopes name -> float32 [task, row, column]; compiled once per (``config``,
    network, shapes)."""
    of_clip = masked_scores if config.result == "scores" else masked_slopes

    def task(clip_and_rows: tuple[DeviceBatch, jax.Array], model: Model) -> dict[str, jax.Array]:
        clip, rows = clip_and_rows
        one = of_clip(config, model, batch_of_one(clip))
        return jax.lax.map(one, rows) if config.chunk == 1 else jax.lax.map(one, rows, batch_size=config.chunk)

    def tasks(model: Model, clips: DeviceBatch, gates: jax.Array) -> dict[str, jax.Array]:
        if len(gates) == 1:  # no loop around the loop
            return batch_of_one(task((jax.tree.map(lambda a: a[0], clips), gates[0]), model))
        return jax.lax.map(lambda pair: task(pair, model), (clips, gates))

    if config.mesh is None:
        return tasks(model, clips, gates)
    specs = {"in_specs": (P(), P(VIDEO), P(VIDEO, MASK)), "out_specs": P(VIDEO, MASK)}
    scores = jax.shard_map(tasks, mesh=config.mesh, check_vma=False, **specs)(model, clips, gates)
    return jax.lax.with_sharding_constraint(scores, NamedSharding(config.mesh, P()))
