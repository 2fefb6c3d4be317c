"""Masked passes that begin at their first edited block, from stored activations.

A row that removes concepts of block l or later equals the unmodified pass before block l, so it starts there. With one
concept removed at a time this is about half the work. One compiled function serves all blocks of a kind
(``vtcd_jax.models.staged``). Rows that begin at the same block run together, up to ``BATCH`` at a time. The length of
the loop over them is an argument of the call: fewer rows cost less and need no new compilation.

    carries[l]  activations of the unmodified clip before block l
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vtcd_jax.data import ClipSource
from vtcd_jax.data.inputs import network_inputs
from vtcd_jax.devices.dispatch import map_ordered, max_in_flight
from vtcd_jax.devices.precision import cast
from vtcd_jax.models import Inputs, Model, staged
from vtcd_jax.scores.functions import Context, Scores
from vtcd_jax.scores.targets import Targets

from .design import Design
from .engine import Block, Task, check_finite, configure_passes
from .gates import padded_columns, rows_of
from .inputs import build_inputs
from .masked_pass import DeviceBatch, PassConfig, batch_of_one, context_of, filling, scored
from .support import Support, edits

BATCH = 16  # rows whose activations are held at a time


def supports_prefix(model: Model, support: Support) -> bool:
    """Whether the network runs in stages and all concepts are in its blocks."""
    return staged.is_staged(model) and all(staged.block_of(model, site) is not None for site in support.ids)


def prefix_blocks(
    model: Model,
    clips: ClipSource,
    support: Support,
    design: Design,
    todo: Sequence[Task],
    *,
    score: Scores,
    targets: Targets,
    mode: str = "zero",
    chunk: int | None = None,
    dtype: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Block]:
    """What ``engine.score_blocks`` gives, but for rounding, for a support in the blocks of a staged network.

    todo: the blocks that are wanted, clip by clip.
    """
    inputs = build_inputs(model, clips, support, targets, mode)
    config = configure_passes(inputs, min(design.masks, BATCH), score=score, mode=mode, chunk=chunk, dtype=dtype)
    blocks = {site: block for site in support.ids if (block := staged.block_of(model, site)) is not None}
    model, present = cast(model, config.dtype), support.present()
    params = [staged.part_params(model, part) for part in staged.parts(model)]
    batch_rows = -(-BATCH // config.chunk) * config.chunk

    def batches() -> Iterator[_Batch]:
        prepared: tuple[int, _Clip] | None = None
        for task in todo:
            if stop():
                return
            if prepared is None or prepared[0] != task.video:
                one = batch_of_one(jax.tree.map(lambda a: a[0], inputs.of([task.video])))
                prepared = (task.video, _Clip.prepare(config, model, params, one))
            rows = rows_of(design, support, clips.hashes[task.video], task.start, task.stop, present[task.video])
            begin = first_blocks(rows, support, task.video, blocks, model.config.depth)
            for block in np.unique(begin):
                same = np.flatnonzero(begin == block)
                for chosen in (same[i : i + batch_rows] for i in range(0, len(same), batch_rows)):
                    padded = np.pad(rows[chosen], ((0, batch_rows - len(chosen)), (0, 0)), mode="edge")
                    yield _Batch(task, prepared[1], int(block), chosen, padded_columns(padded))

    names = [name for name, _ in config.functions]
    left = {task: task.stop - task.start for task in todo}
    scores = {task: {name: np.zeros(task.stop - task.start, np.float32) for name in names} for task in todo}
    for batch, results in map_ordered(lambda batch: batch.scores(), batches(), max_in_flight()):
        for name, values in results.items():
            scores[batch.task][name][batch.rows] = np.asarray(values)[: len(batch.rows)]
        left[batch.task] -= len(batch.rows)
        if not left[batch.task]:
            done = scores.pop(batch.task)
            check_finite(done, clips.names[batch.task.video], batch.task.start)
            yield Block(*batch.task, done)


def first_blocks(rows: np.ndarray, support: Support, video: int, blocks: Mapping[str, int], depth: int) -> np.ndarray:
    """int [row]: the first block in which a row removes something of a clip; ``depth`` where it removes nothing."""
    of_concept = np.full(support.concepts, depth)
    for site, block in sorted(blocks.items(), key=lambda item: -item[1]):  # the earliest is written last
        ids = np.unique(support.ids[site][video])
        of_concept[ids[ids >= 0]] = block
    return np.where(rows != 1, of_concept, depth).min(1, initial=depth)


class _Step(NamedTuple):
    """A block of a clip's passes.

    first:       the first block of its kind.
    ids, weight: the tokens of its concepts.
    fill:        the values that replace removed ones.
    """

    first: int
    params: dict[str, Any]
    ids: dict[str, jax.Array]
    weight: dict[str, jax.Array]
    fill: dict[str, jax.Array] | None


@dataclass(frozen=True)
class _Clip:
    """One clip (a batch of one), the steps of its passes, and the unmodified activations before each step."""

    config: PassConfig
    model: Model
    clip: DeviceBatch
    inputs: Inputs
    steps: list[_Step]
    carries: list[Any]

    @classmethod
    def prepare(cls, config: PassConfig, model: Model, params: list[dict[str, Any]], clip: DeviceBatch) -> _Clip:
        """Runs the unmodified clip. params: of every block (``staged.part_params``)."""
        inputs, fill = network_inputs(model, clip.pixels, clip.query, config.dtype), _filling(config, model, clip)
        per_site = (clip.ids, clip.weight, fill)
        steps = [
            _Step(part.first, leaves, *(None if a is None else part.sites(a) for a in per_site))  # type: ignore[arg-type]
            for part, leaves in zip(staged.parts(model), params, strict=True)
        ]
        carries = [staged.embedded(model, inputs)]
        for step in steps:
            carries.append(staged.plain_part(model.module, step.first, step.params, carries[-1]))
        return cls(config, model, clip, inputs, steps, carries)

    def scores(self, block: int, gates: jax.Array, count: int) -> dict[str, jax.Array]:
        """Scores name -> [row] of gates [row, concept] that leave the blocks before ``block`` alone; the first
        ``count`` rows are computed."""
        carry = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(gates), *a.shape)), self.carries[block])
        for step in self.steps[block:]:
            carry = _masked_step(
                self.config, self.model.module, step.first, step.params, carry, gates, count, *step[2:]
            )
        return _scored(self.config, self.model, carry, count, self.inputs, context_of(self.model, self.clip))


class _Batch(NamedTuple):
    """Rows of a task that begin at the same block: their numbers in the task, and their gates, padded."""

    task: Task
    clip: _Clip
    block: int
    rows: np.ndarray
    gates: np.ndarray

    def scores(self) -> dict[str, jax.Array]:
        return self.clip.scores(self.block, jnp.asarray(self.gates), len(self.rows))


@partial(jax.jit, static_argnums=0)
def _filling(config: PassConfig, model: Model, clip: DeviceBatch) -> dict[str, jax.Array] | None:
    return filling(config, model, clip)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _masked_step(
    config: PassConfig,
    module: nn.Module,
    first: int,
    params: Any,
    carry: Any,
    gates: jax.Array,
    count: jax.Array | int,
    ids: dict[str, jax.Array],
    weight: dict[str, jax.Array],
    fill: dict[str, jax.Array] | None,
) -> Any:
    """The carries [row, …] after a block, each under its row of gates."""

    def one(row: tuple[jax.Array, Any]) -> Any:
        return staged.run_part(module, first, params, row[1], edits(row[0], ids, weight, config.mode, fill))

    return _first_rows(one, (gates, carry), count, config.chunk)


@partial(jax.jit, static_argnums=0)
def _scored(
    config: PassConfig, model: Model, carry: Any, count: jax.Array | int, inputs: Inputs, context: Context
) -> dict[str, jax.Array]:
    def one(carry: Any) -> dict[str, jax.Array]:
        return scored(config, staged.run_head(model, carry, inputs), context)

    return _first_rows(one, carry, count, config.chunk)


def _first_rows(one: Callable[[Any], Any], rows: Any, count: jax.Array | int, chunk: int) -> Any:
    """``one`` of the first ``count`` rows of a pytree of [row, …], ``chunk`` (a divisor of their number) at a time; the
    others are zero."""
    size = jax.tree.leaves(rows)[0].shape[0]

    def several(rows: Any) -> Any:
        if chunk > 1:
            return jax.vmap(one)(rows)
        return jax.tree.map(lambda a: a[None], one(jax.tree.map(lambda a: a[0], rows)))

    def piece(i: jax.Array | int) -> Any:
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * chunk, chunk), rows)

    def body(i: jax.Array, out: Any) -> Any:
        return jax.tree.map(
            lambda a, new: jax.lax.dynamic_update_slice_in_dim(a, new, i * chunk, 0), out, several(piece(i))
        )

    shapes = jax.eval_shape(several, piece(0))
    start = jax.tree.map(lambda s: jnp.zeros((size, *s.shape[1:]), s.dtype), shapes)
    return jax.lax.fori_loop(0, (count + chunk - 1) // chunk, body, start)
