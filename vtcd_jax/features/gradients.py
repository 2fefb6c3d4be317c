"""Derivatives of a score with respect to the values of sites."""

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
from vtcd_jax.models import Inputs, Model, fingerprint, forward
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores.functions import Context, Score
from vtcd_jax.scores.targets import Reference, Targets

from .calls import Batch, Values, check_clips, fixed, host_inputs, result_dtype, run
from .keys import digest
from .layout import chosen_sites
from .scoring import Target, check_score, clip_targets, example_output, smooth_function
from .shifting import Shifts, edits, shifts_of, without_pooled, zeros
from .streaming import Block, Task, clip_blocks, shard_size, stacked

GRADIENT = Step("gradient", "gradients", "clip")


@dataclass(frozen=True)
class Sloped:
    """Static settings of the compiled function. predicted_class: whether each clip's target is its predicted class."""

    shifts: Shifts
    score: Score
    pool: str | None
    dtype: str
    predicted_class: bool


def gradient(
    model: Model,
    clips: ClipSource,
    score: str | Score,
    sites: str | Sequence[str],
    *,
    target: str | int | Targets | None = None,
    reference: Reference = "true",
    pool: str | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    work: Work = Work(),  # noqa: B008 (frozen)
) -> dict[str, np.ndarray]:
    """Derivatives of a score with respect to the values at sites: site -> [video, …site shape…].

    All sites come from one pass forward and one back for each clip. Each derivative is total: what a small change of
    the site's value through all later computations, including other sites.

    score:     a smooth score by name ("logit", "log_probability", …) or a function (output, context) -> [batch].
    target:    a class name or index for all clips, ``Targets`` with one for each, or None: each clip's predicted class,
               from the same pass. A tracker's is a mask: ``reference`` as in ``find_targets``.
    pool:      None; "space" or "all", the *sum* over the positions that ``capture`` averages over: the derivative where
               all of them are shifted alike. Sums are taken on the device, in float32.
    The others are those of ``capture``. Blocks are called ``gradient/<clip>-<key>``.

    Raises InputError for a score without slope (0/1 scores) or of another form, for an unknown target, and as
    ``capture`` does.
    """
    settings: dict[str, Any] = {"target": target, "reference": reference, "pool": pool, "dtype": dtype, "mesh": mesh}
    blocks = gradient_blocks(model, clips, score, sites, work=work, **settings)
    return stacked(blocks, shard_size(clips, work), tuple(chosen_sites(model, sites)))


def gradient_blocks(
    model: Model,
    clips: ClipSource,
    score: str | Score,
    sites: str | Sequence[str],
    *,
    target: str | int | Targets | None = None,
    reference: Reference = "true",
    pool: str | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
    work: Work = Work(),  # noqa: B008
) -> Iterator[Block]:
    """As ``gradient``, one clip after the other: (row of the clip, site -> its derivatives)."""
    check_clips(model, clips, dtype)
    shifts = shifts_of(chosen_sites(model, sites), pool)
    function, output = smooth_function(score), example_output(model)
    score_key = check_score(model, function, output)
    targets = clip_targets(model, clips, target, reference, output)
    settings = Sloped(shifts, function, pool, dtype, predicted_class=target is None and output.logits is not None)
    on_devices = fixed(model, mesh)
    task = Task(
        GRADIENT,
        clips,
        batch=lambda videos: _batch(model, clips, videos, [targets.find(video) for video in videos]),
        call=lambda batch: run(_slopes, settings, mesh, on_devices, batch, None),
        mesh=mesh,
        key=None if work.store is None else digest(fingerprint(model), score_key, shifts, pool, dtype),
        clip_key=targets.key,
    )
    return clip_blocks(task, work)


def _batch(model: Model, clips: ClipSource, videos: list[int], targets: list[Target]) -> Batch:
    masks = [target.mask for target in targets]
    return Batch(
        host_inputs(model, clips, videos),
        pixels=clips.read(videos).video,
        label=np.asarray([target.label for target in targets], np.int32),
        mask=None if any(mask is None for mask in masks) else np.stack([np.asarray(mask) for mask in masks]),
    )


def _slopes(settings: Sloped, model: Model, batch: Batch, shared: Any) -> Values:
    """site -> [1, …]."""
    model, inputs = cast(model, settings.dtype), cast(batch.inputs, settings.dtype)
    slopes = jax.grad(lambda values: _score(settings, model, inputs, batch, values))(zeros(settings.shifts))
    return without_pooled(settings.shifts, slopes, result_dtype(settings.dtype, settings.pool))


def _score(settings: Sloped, model: Model, inputs: Inputs, batch: Batch, shift: Values) -> jax.Array:
    """The score of a batch of one, with its sites shifted."""
    output = cast(forward(model, inputs, edits=edits(shift))[0], "float32")
    label = output.logits.argmax(-1).astype(jnp.int32) if settings.predicted_class else batch.label  # type: ignore[union-attr]
    context = Context(batch.pixels.astype(jnp.float32) / 255, label, batch.mask, model.config)
    return settings.score(output, context)[0].astype(jnp.float32)
