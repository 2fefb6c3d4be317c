"""Scores of masked passes. Higher is better for all, so a drop means that the removed concept mattered.

    accuracy             1 where the target class has the highest logit, else 0 (the paper's, for classifiers)
    probability          softmax of the target class
    log_probability      its logarithm
    margin               target logit minus the highest other logit
    logit                target logit
    reconstruction       minus the mean squared error of the reconstructed, per-patch normalised pixels (autoencoders)
    iou                  intersection over union of the target's predicted mask (logit > 0) and the target mask, by
    frame,
                         mean over the frames that have one (trackers)
    soft_iou             the same with probabilities instead of 0 and 1: smooth

A score is a function (output, context) -> [batch]. Users may pass their own, alone or as name -> function. Define it
once: compiled passes are cached by function object, so a lambda inside a call is compiled at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.models import InputError, Model, Output, all_families, example_inputs, family_of, nearest, output_shapes


@struct.dataclass
class Context:
    """What a score function gets besides the output.

    video: float [batch, time, height, width, 3] in [0, 1], before normalisation.
    label: int [batch], the target class (-1: none).
    mask:  bool [batch, time, height, width], the target mask of a tracker; None for other networks.
    config: the network's sizes.
    """

    video: jax.Array
    label: jax.Array
    mask: jax.Array | None = None
    config: object = struct.field(pytree_node=False, default=None)


Score = Callable[[Output, Context], jax.Array]
Scores = str | Score | Sequence[str | Score] | Mapping[str, Score]
"""Accepted as scores: names of ``SCORES``, functions, or functions by name."""


def accuracy(output: Output, context: Context) -> jax.Array:
    return (_logits(output).argmax(-1) == context.label).astype(jnp.float32)


def log_probability(output: Output, context: Context) -> jax.Array:
    return _at(jax.nn.log_softmax(_logits(output).astype(jnp.float32)), context)


def probability(output: Output, context: Context) -> jax.Array:
    return jnp.exp(log_probability(output, context))


def logit(output: Output, context: Context) -> jax.Array:
    return _at(_logits(output), context).astype(jnp.float32)


def margin(output: Output, context: Context) -> jax.Array:
    logits = _logits(output).astype(jnp.float32)
    others = jnp.where(jnp.arange(logits.shape[-1]) == context.label[:, None], -jnp.inf, logits)
    return _at(logits, context) - others.max(-1)


def reconstruction(output: Output, context: Context) -> jax.Array:
    if output.patches is None:
        raise InputError(
            "score 'reconstruction' needs a network that reconstructs; for a classifier take 'log_probability'"
        )
    config: Any = context.config
    known = all_families().get(config.family)
    target = None if known is None else known.target
    if target is None:
        raise InputError(
            f"score 'reconstruction' does not know what the family {config.family} reconstructs; set its `target`"
        )
    wanted = target(context.video, config)
    return -jnp.square(output.patches.astype(jnp.float32) - wanted).mean((1, 2, 3, 4))


def iou(output: Output, context: Context) -> jax.Array:
    logits, mask = _masks(output, context)
    return _overlap((logits > 0).astype(jnp.float32), mask)


def soft_iou(output: Output, context: Context) -> jax.Array:
    logits, mask = _masks(output, context)
    return _overlap(jax.nn.sigmoid(logits.astype(jnp.float32)), mask)


SCORES: dict[str, Score] = {
    "accuracy": accuracy,
    "probability": probability,
    "log_probability": log_probability,
    "margin": margin,
    "logit": logit,
    "reconstruction": reconstruction,
    "iou": iou,
    "soft_iou": soft_iou,
}
FLAT = {"accuracy": "log_probability", "iou": "soft_iou"}  # scores without slope -> smooth alternatives
SIGNATURE = "(output, context) -> [batch]"
CLASSIFIER_SCORES = ("log_probability", "accuracy", "probability", "margin", "logit")


def score_functions(score: Scores) -> dict[str, Score]:
    """name -> function. A function without a name gets its ``__name__``.

    Raises InputError for unknown or repeated names, and for values that are not functions.
    """
    if isinstance(score, Mapping):
        pairs = list(score.items())
    else:
        pairs = [_named(one) for one in ([score] if isinstance(score, str) or callable(score) else score)]
    functions = dict(pairs)
    if len(functions) < len(pairs) or not pairs:
        raise InputError(f"scores {', '.join(str(name) for name, _ in pairs) or '(none)'}: give one or more, each once")
    for name, function in pairs:
        if not callable(function):
            raise InputError(f"score {name!r} is {type(function).__name__}, not a function {SIGNATURE}")
    return functions


def _named(score: str | Score) -> tuple[str, Score]:
    if callable(score):
        return getattr(score, "__name__", type(score).__name__), score
    if score not in SCORES:
        raise InputError(f"unknown score {score!r}; nearest: {nearest(str(score), SCORES)}")
    return score, SCORES[score]


def check_functions(model: Model, functions: Mapping[str, Score], *, masks: bool) -> None:
    """Raises InputError for a score that does not fit the network, or is no function (output, context) -> [batch].

    masks: whether the targets are masks, as those of trackers. Costs no arithmetic.
    """
    output, video = output_shapes(model), example_inputs(model).video
    mask = jax.ShapeDtypeStruct(video.shape[:-1], bool) if masks else None
    context = Context(video, jax.ShapeDtypeStruct((1,), jnp.int32), mask, model.config)  # type: ignore[arg-type]
    for name, function in functions.items():
        try:
            result = jax.eval_shape(function, output, context)
        except InputError:
            raise
        except Exception as error:  # whatever a user's function raises
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"score {name!r} must be a function {SIGNATURE}; it failed with {reason}") from error
        shape, kind = getattr(result, "shape", None), getattr(result, "dtype", np.dtype(object))
        if shape != (1,) or not jnp.can_cast(kind, jnp.float32, "same_kind"):
            gave = f"{kind} {list(shape)}" if shape is not None else type(result).__name__
            raise InputError(f"score {name!r} must be a function {SIGNATURE}; for a batch of 1 it gave {gave}")


def flat_scores(functions: Mapping[str, Score]) -> dict[str, str]:
    """The scores without slope (0/1 scores): name -> a smooth score that asks nearly the same."""
    flat = {SCORES[name]: instead for name, instead in FLAT.items()}
    return {name: flat[function] for name, function in functions.items() if function in flat}


def is_smooth(function: Score) -> bool:
    """Whether a score is known to have slopes: one of ``SCORES``, not of the 0/1 ones."""
    return any(known is function and name not in FLAT for name, known in SCORES.items())


def check_smooth(functions: Mapping[str, Score]) -> None:
    """Raises InputError for a score without slope; the message names a smooth one."""
    for name, instead in flat_scores(functions).items():
        raise InputError(f"score {name!r} has no slope; take {instead!r}")


def check_scores(model: Model, scores: Sequence[str]) -> None:
    """Raises InputError for a score that is unknown or does not fit the network. Costs no arithmetic."""
    for name, function in score_functions(scores).items():
        try:
            check_functions(model, {name: function}, masks=True)
        except InputError as error:
            raise InputError(f"--scores {name}: {error}") from None


def default_scores(model: Model) -> tuple[str, ...]:
    """The scores that fit a network's predictions; concepts are ranked by the first. Costs no arithmetic.

    Raises InputError for a network without a head, and for a video-text network that has no sentences.
    """
    output = output_shapes(model)
    if output.masks is not None:
        return ("iou", "soft_iou")
    if output.patches is not None:
        return ("reconstruction",)
    if output.logits is None and "text" not in family_of(model).needs:
        raise InputError(
            f"model {model.name!r} has no head, so it gives nothing to score by; train a head with `probes`, or give a "
            "score function of your own"
        )
    if output.logits is None:
        raise InputError(
            f"model {model.name!r} compares clips with sentences and has none; convert it with --labels and "
            "--vocabulary"
        )
    return CLASSIFIER_SCORES if model.prompts is None else ("logit", *(s for s in CLASSIFIER_SCORES if s != "logit"))


def _logits(output: Output) -> jax.Array:
    if output.logits is None:
        raise InputError("this score needs logits; an autoencoder has 'reconstruction', a tracker 'iou'")
    return output.logits


def _masks(output: Output, context: Context) -> tuple[jax.Array, jax.Array]:
    """(logits of the target's mask, the target mask), both [batch, time, height, width]."""
    if output.masks is None or context.mask is None:
        raise InputError("this score needs a network that gives masks; for a classifier take 'log_probability'")
    return output.masks[..., 0], context.mask.astype(jnp.float32)


def _overlap(predicted: jax.Array, mask: jax.Array) -> jax.Array:
    """[batch]: intersection over union by frame, mean over frames with a mask; 0 where no frame has one."""
    both = (predicted * mask).sum((2, 3))
    either = (predicted + mask - predicted * mask).sum((2, 3))
    has_any = mask.any((2, 3))
    by_frame = jnp.where(has_any, both / jnp.maximum(either, 1e-7), 0.0)
    return by_frame.sum(1) / jnp.maximum(has_any.sum(1), 1)


def _at(values: jax.Array, context: Context) -> jax.Array:
    return jnp.take_along_axis(values, context.label[:, None], axis=-1)[:, 0]
