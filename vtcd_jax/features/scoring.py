"""Scores and targets of gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.data import ClipSource
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.models import InputError, Inputs, Model, Output, example_inputs, forward
from vtcd_jax.scores.functions import FLAT, SCORES, Context, Score, score_functions
from vtcd_jax.scores.targets import TRUE_MASKS, Reference, Targets, class_index, find_targets

from .keys import digest, function_digest


@dataclasses.dataclass(frozen=True)
class Target:
    """The target of one clip.

    label: the class; -1 for the predicted class, and without classes.
    mask:  bool [time, height, width], the target mask of a tracker, or None.
    """

    label: int
    mask: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class ClipTargets:
    """find: row of a clip -> its target.

    key: row -> hash of what it depends on besides clip and network; needs no pass.
    """

    find: Callable[[int], Target]
    key: Callable[[int], str]


def smooth_function(score: str | Score) -> Score:
    """A score by name, or a user's function. Raises InputError for a score without slope, naming one with a slope."""
    if not callable(score) and not isinstance(score, str):
        raise InputError(f"score {score!r} is neither the name of a score nor a function (output, context) -> [batch]")
    name = score if isinstance(score, str) else next((name for name in FLAT if SCORES[name] is score), "")
    if name in FLAT:
        raise InputError(f"score {name!r} has no slope; take {FLAT[name]!r}")
    return score_functions(score)[score] if isinstance(score, str) else score


def example_output(model: Model) -> Output:
    """Shapes of the network's predictions for one clip. Costs no arithmetic."""
    inputs: Inputs = dataclasses.replace(example_inputs(model), text=None)
    return jax.eval_shape(lambda m, i: forward(m, i)[0], model, inputs)


def check_score(model: Model, function: Score, output: Output) -> str:
    """A digest of what the score and its slope compute. Raises InputError for a function that does not fit the
    network: with other arguments, or without one number per clip.
    """
    output = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), output)
    context = _example_context(model, output)
    name = getattr(function, "__name__", repr(function))
    try:
        value = jax.eval_shape(function, output, context)
    except InputError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"score {name!r} must be a function (output, context) -> [batch]: {reason}") from error
    shape = getattr(value, "shape", None)
    if shape != (1,) or not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(f"score {name!r} must give one float per clip, [batch]; for a batch of one it gives {value}")
    return function_digest(_with_slope(function), output, context)


def _example_context(model: Model, output: Output) -> Context:
    p = model.preprocessing
    frames = (1, p.num_frames, p.height, p.width)
    mask = None if output.masks is None else jax.ShapeDtypeStruct(frames, jnp.bool_)
    video, label = jax.ShapeDtypeStruct((*frames, 3), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
    return Context(video, label, mask, model.config)  # type: ignore[arg-type]  # shapes


def _with_slope(function: Score) -> Callable[[Output, Context], Any]:
    def both(output: Output, context: Context) -> Any:
        return jax.value_and_grad(lambda out: function(out, context)[0].astype(jnp.float32))(output)

    return both


def clip_targets(
    model: Model, clips: ClipSource, target: str | int | Targets | None, reference: Reference, output: Output
) -> ClipTargets:
    """Each clip's target. A tracker's predicted masks are computed clip by clip, when needed.

    Raises InputError for a target that the network does not have, naming the clip if targets differ.
    """
    if isinstance(target, Targets):
        return _given(clips, target, output)
    if output.masks is not None:
        if target is not None:
            raise InputError(f"model {model.name!r} follows a mask, so target {target!r} has no meaning; leave it out")
        return _masks(model, clips, reference)
    if target is None:
        return ClipTargets(lambda video: Target(-1), lambda video: "own")
    label = class_index(model, target) if isinstance(target, str) else int(target)
    _check_label(label, output, "")
    return ClipTargets(lambda video: Target(label), lambda video: f"class {label}")


def _given(clips: ClipSource, targets: Targets, output: Output) -> ClipTargets:
    if len(targets.label) != len(clips):
        raise InputError(f"{len(clips)} clips, but targets of {len(targets.label)}; give one per clip, in their order")
    check_same_clips("targets", targets.hashes, clips, "use `find_targets` on these clips")
    if output.masks is not None and targets.mask is None:
        raise InputError("these targets have no masks, which a tracker needs; use `find_targets`")
    if output.logits is not None:
        for name, label in zip(clips.names, targets.label, strict=True):
            _check_label(int(label), output, f"{name}: ")

    def find(video: int) -> Target:
        mask = None if targets.mask is None else np.asarray(targets.mask[video], bool)
        return Target(int(targets.label[video]), mask)

    return ClipTargets(find, lambda video: _key(find(video)))


def _key(target: Target) -> str:
    return f"class {target.label}" if target.mask is None else digest(target.label, target.mask)


def _check_label(label: int, output: Output, clip: str) -> None:
    classes = 0 if output.logits is None else output.logits.shape[-1]
    if not 0 <= label < classes:
        classes_known = f"classes 0 to {classes - 1}" if classes else "no classes"
        raise InputError(f"{clip}target class {label} is out of range; the model has {classes_known}")


def _masks(model: Model, clips: ClipSource, reference: Reference) -> ClipTargets:
    """Targets of a tracker: the true mask if it is known and requested, else the predicted one."""
    true = reference == "true" and any(name in clips.mask_names for name in TRUE_MASKS)

    def find(video: int) -> Target:
        mask = find_targets(model, clips[[video]], reference=reference).mask
        assert mask is not None
        return Target(-1, mask[0])

    return ClipTargets(find, (lambda video: _key(find(video))) if true else lambda video: "own mask")
