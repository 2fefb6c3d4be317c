"""Scores: what a masked pass is judged by. All are "higher is better", so that a drop means the concept mattered.

    accuracy             1 where the target class has the highest logit, else 0 (the paper's, for classifiers)
    probability          softmax of the target class
    log_probability      its logarithm
    margin               target logit minus the highest other logit
    logit                target logit
    reconstruction       minus the mean squared error of the reconstructed, per-patch normalised pixels (autoencoders)

A score is a function (output, context) -> [batch]; users pass their own by name -> function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.data import Clips
from vtcd_jax.models import InputError, Inputs, Model, Output, forward, nearest
from vtcd_jax.models.videomae import reconstruction_target


@struct.dataclass
class Context:
    """What a score may look at beside the output.

    video: float [batch, time, height, width, 3] in [0, 1], before normalisation.
    label: int [batch], the target class (-1: none).  config: the network's sizes.
    """

    video: jax.Array
    label: jax.Array
    config: object = struct.field(pytree_node=False, default=None)


Score = Callable[[Output, Context], jax.Array]


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
    target = reconstruction_target(context.video, context.config)  # type: ignore[arg-type]
    return -jnp.square(output.patches.astype(jnp.float32) - target).mean((1, 2, 3, 4))


SCORES: dict[str, Score] = {
    "accuracy": accuracy,
    "probability": probability,
    "log_probability": log_probability,
    "margin": margin,
    "logit": logit,
    "reconstruction": reconstruction,
}
CLASSIFIER_SCORES = ("log_probability", "accuracy", "probability", "margin", "logit")


def score_functions(score: str | Sequence[str] | Mapping[str, Score]) -> dict[str, Score]:
    """Names, or a user's own name -> function mapping, as a mapping. Raises InputError for an unknown name."""
    if isinstance(score, Mapping):
        return dict(score)
    names = [score] if isinstance(score, str) else list(score)
    for name in names:
        if name not in SCORES:
            raise InputError(f"unknown score {name!r}; nearest: {nearest(name, SCORES)}")
    return {name: SCORES[name] for name in names}


def default_scores(model: Model) -> tuple[str, ...]:
    """The scores that fit a network, the one to rank by first."""
    return ("reconstruction",) if model.config.family == "videomae-pretrain" else CLASSIFIER_SCORES


def targets(model: Model, clips: Clips, target: str | int | None = None) -> np.ndarray:
    """int32 [video]: the target class of each clip.

    target: a class name or index for all clips; None takes each clip's own predicted class (-1 without classes).
    Raises InputError for an unknown class, with the nearest names.
    """
    if target is not None:
        return np.full(len(clips), class_index(model, target), np.int32)
    if not model.labels:
        return np.full(len(clips), -1, np.int32)
    return predict(model, clips).argmax(-1).astype(np.int32)


def class_index(model: Model, target: str | int) -> int:
    if not model.labels:
        raise InputError(f"model {model.name!r} has no classes, so --target {target!r} has no meaning; leave it out")
    if isinstance(target, int) or target.isdecimal():
        if int(target) < len(model.labels):
            return int(target)
        raise InputError(f"target class {target} is out of range; the model has {len(model.labels)} classes")
    lowered = [label.lower() for label in model.labels]
    if target.lower() not in lowered:
        raise InputError(f"unknown target class {target!r}; nearest: {nearest(target, model.labels)}")
    return lowered.index(target.lower())


def predict(model: Model, clips: Clips) -> np.ndarray:
    """float32 [video, class]: logits of whole clips, one at a time."""
    run = jax.jit(lambda m, video: forward(m, Inputs(video))[0].logits)
    normalise = model.preprocessing.normalise
    rows = [np.asarray(run(model, normalise(clips.video[i : i + 1])))[0] for i in range(len(clips))]
    return np.stack(rows).astype(np.float32)


def _logits(output: Output) -> jax.Array:
    if output.logits is None:
        raise InputError("this score needs logits; for an autoencoder take 'reconstruction'")
    return output.logits


def _at(values: jax.Array, context: Context) -> jax.Array:
    return jnp.take_along_axis(values, context.label[:, None], axis=-1)[:, 0]
