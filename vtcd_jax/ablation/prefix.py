"""Masked passes that begin at their first edited block, from stored activations.

A row that removes concepts of block l and later alone equals the untouched pass up to block l, so it starts there: with
one concept removed at a time that is about half the work. One compiled function serves the blocks of a kind
(``vtcd_jax.models.staged``), rows that begin at the same block run together, up to ``BATCH`` at a time: the loop over
them takes its length from the call, so that fewer rows cost less and need no other program.

    carries[l]  what the untouched clip has before block l
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vtcd_jax.data import Clips
from vtcd_jax.devices.dispatch import at_once, in_order
from vtcd_jax.models import Inputs, Model, staged
from vtcd_jax.scores.functions import Context, Scores
from vtcd_jax.scores.targets import Targets, find_targets

from .engine import check_finite, make_passes
from .gates import Gates, as_design, rows_of
from .inputs import arguments_of
from .masked_pass import ClipArguments, Passes, batch_of_one, cast, context_of, filling, network_inputs, scored
from .support import Support, edits

BATCH = 16  # rows whose activations are held at a time


def begins_later(model: Model, support: Support) -> bool:
    """Whether the network runs in stages and all concepts lie in its blocks."""
    return staged.is_staged(model) and all(staged.block_of(model, site) is not None for site in support.ids)


def suffix_scores(
    model: Model,
    clips: Clips,
    support: Support,
    design: Gates,
    *,
    score: Scores,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    dtype: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """What ``engine.scores`` gives, but for rounding, for a support in the blocks of a staged network."""
    design = as_design(design, support.concepts)
    targets = find_targets(model, clips) if targets is None else targets
    arguments = arguments_of(model, clips, support, targets, mode)
    passes = make_passes(arguments, min(design.masks, BATCH), score=score, mode=mode, chunk=chunk, dtype=dtype)
    blocks = {site: block for site in support.ids if (block := staged.block_of(model, site)) is not None}
    model, present = cast(model, passes.dtype), support.present()
    params = [staged.part_params(model, part) for part in staged.parts(model)]
    most = -(-BATCH // passes.chunk) * passes.chunk
    out = {name: np.full((len(clips), design.masks), np.nan, np.float32) for name, _ in passes.functions}

    def todo() -> Iterator[_Batch]:
        for video in range(len(clips)):
            rows = rows_of(design, clips.hashes[video], 0, design.count(present[video]), present[video])
            begin = first_blocks(rows, support, video, blocks, model.config.depth)
            one = batch_of_one(jax.tree.map(lambda a: a[0], arguments.of([video])))
            clip = _Clip.prepare(passes, model, params, one)
            for block in np.unique(begin):
                own = np.flatnonzero(begin == block)
                for places in (own[i : i + most] for i in range(0, len(own), most)):
                    padded = np.pad(rows[places], ((0, most - len(places)), (0, 0)), mode="edge")
                    yield _Batch(video, clip, int(block), places, padded)

    for batch, found in in_order(lambda batch: batch.scores(), todo(), at_once()):
        for name, values in found.items():
            out[name][batch.video, batch.places] = np.asarray(values)[: len(batch.places)]
        if progress:
            progress(len(batch.places))
    for video in range(len(clips)):
        count = design.count(present[video])
        check_finite({name: values[video, :count] for name, values in out.items()}, clips.names[video], 0)
    return out


def first_blocks(rows: np.ndarray, support: Support, video: int, blocks: Mapping[str, int], depth: int) -> np.ndarray:
    """int [row]: the first block in which a row removes something of a clip; ``depth`` where it removes nothing."""
    of_concept = np.full(support.concepts, depth)
    for site, block in sorted(blocks.items(), key=lambda item: -item[1]):  # the earliest is written last
        ids = np.unique(support.ids[site][video])
        of_concept[ids[ids >= 0]] = block
    return np.where(rows != 1, of_concept, depth).min(1, initial=depth)


class _Step(NamedTuple):
    """A block of a clip's passes: the first of its kind, parameters, where concepts lie, what fills removed values."""

    first: int
    params: dict[str, Any]
    ids: dict[str, jax.Array]
    weight: dict[str, jax.Array]
    fill: dict[str, jax.Array] | None


@dataclass(frozen=True)
class _Clip:
    """One clip (a batch of one), the steps of its passes, and what stands before each of them untouched."""

    passes: Passes
    model: Model
    clip: ClipArguments
    inputs: Inputs
    steps: list[_Step]
    carries: list[Any]

    @classmethod
    def prepare(cls, passes: Passes, model: Model, params: list[dict[str, Any]], clip: ClipArguments) -> _Clip:
        """Runs the untouched clip. params: of every block (``staged.part_params``)."""
        inputs, fill = network_inputs(model, clip.pixels, clip.query, passes.dtype), _filling(passes, model, clip)
        steps = [
            _Step(part.first, own, *(None if of is None else part.sites(of) for of in (clip.ids, clip.weight, fill)))  # type: ignore[arg-type]
            for part, own in zip(staged.parts(model), params, strict=True)
        ]
        carries = [staged.embedded(model, inputs)]
        for step in steps:
            carries.append(staged.plain_part(model.module, step.first, step.params, carries[-1]))
        return cls(passes, model, clip, inputs, steps, carries)

    def scores(self, block: int, gates: jax.Array, count: int) -> dict[str, jax.Array]:
        """Scores name -> [row] of gates [row, concept] that leave the blocks before ``block`` alone; the first
        ``count`` rows are computed."""
        carry = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(gates), *a.shape)), self.carries[block])
        for step in self.steps[block:]:
            carry = _masked_step(
                self.passes, self.model.module, step.first, step.params, carry, gates, count, *step[2:]
            )
        return _scored(self.passes, self.model, carry, count, self.inputs, context_of(self.model, self.clip))


class _Batch(NamedTuple):
    """Rows of a clip that begin at the same block: their places in the design, and their gates, padded."""

    video: int
    clip: _Clip
    block: int
    places: np.ndarray
    gates: np.ndarray

    def scores(self) -> dict[str, jax.Array]:
        return self.clip.scores(self.block, jnp.asarray(self.gates), len(self.places))


@partial(jax.jit, static_argnums=0)
def _filling(passes: Passes, model: Model, clip: ClipArguments) -> dict[str, jax.Array] | None:
    return filling(passes, model, clip)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _masked_step(
    passes: Passes,
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
        return staged.run_part(module, first, params, row[1], edits(row[0], ids, weight, passes.mode, fill))

    return _first_rows(one, (gates, carry), count, passes.chunk)


@partial(jax.jit, static_argnums=0)
def _scored(
    passes: Passes, model: Model, carry: Any, count: jax.Array | int, inputs: Inputs, context: Context
) -> dict[str, jax.Array]:
    def one(carry: Any) -> dict[str, jax.Array]:
        return scored(passes, staged.run_head(model, carry, inputs), context)

    return _first_rows(one, carry, count, passes.chunk)


def _first_rows(one: Callable[[Any], Any], rows: Any, count: jax.Array | int, chunk: int) -> Any:
    """``one`` of the first ``count`` rows of a pytree of [row, …], ``chunk`` (a divisor of their number) at a time; the
    others are zero."""
    size = jax.tree.leaves(rows)[0].shape[0]

    def several(rows: Any) -> Any:
        if chunk > 1:
            return jax.vmap(one)(rows)
        return jax.tree.map(lambda a: a[None], one(jax.tree.map(lambda a: a[0], rows)))

    def part(i: jax.Array | int) -> Any:
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * chunk, chunk), rows)

    def body(i: jax.Array, out: Any) -> Any:
        return jax.tree.map(
            lambda a, new: jax.lax.dynamic_update_slice_in_dim(a, new, i * chunk, 0), out, several(part(i))
        )

    shapes = jax.eval_shape(several, part(0))
    start = jax.tree.map(lambda s: jnp.zeros((size, *s.shape[1:]), s.dtype), shapes)
    return jax.lax.fori_loop(0, (count + chunk - 1) // chunk, body, start)
