"""What each small model learns from the synthetic world: its network, its batches, its loss and its figures.

A small model is a set of functions; ``train_world.py`` makes a task of ``vtcd_jax.training`` of it. Beside its own
loss it may train linear read-outs of the tokens for the true masks of target, occluder and container. They speed the
start up and are dropped at the end.

``world-videomae`` is trained by classes alone: its first clips have plain surfaces, then textures come in (``PLAIN``,
``TEXTURED``); in a second round the classes that differ only in what covers what, or in a second object, come more
often (``CLOSE``). ``world-videomae-masks`` is the same network with the read-outs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vtcd_jax import models, world
from vtcd_jax.data import Clips
from vtcd_jax.models import Inputs, Model
from vtcd_jax.models.families import videomae
from vtcd_jax.models.language.tokenizer import Tokenizer
from vtcd_jax.training import Batch
from vtcd_jax.training.auxiliary import mask_heads, mask_loss, token_fractions


@dataclass(frozen=True)
class SmallModel:
    """model:    key -> the untrained network.
    readouts: model -> what is trained beside it and dropped (a pytree, may be empty).
    batch:    (seed, size, share of the training that is done) -> host arrays of one step.
    loss:     (model, readouts, batch) -> (loss, {name: figure of this batch}); jitted.
    evaluate: (model, clips, seed) -> figures on as many held-out clips.
    finish:   trained model -> what is shipped, with its tokenizer where it has one.
    """

    model: Callable[[jax.Array], Model]
    readouts: Callable[[Model], Any]
    batch: Callable[[int, int, float], Batch]
    loss: Callable[[Model, Any, Batch], tuple[jax.Array, dict[str, jax.Array]]]
    evaluate: Callable[[Model, int, int], dict[str, Any]]
    finish: Callable[[Model], tuple[Model, Tokenizer | None]] = lambda model: (model, None)


SIZES: dict[str, Any] = {"image_size": 48, "patch_size": 8, "num_frames": 16}
MASK_KINDS = 3  # target, occluder, container
PLAIN, TEXTURED = 0.1, 0.35  # shares of the training: until the first, surfaces are plain; from the second, all texture
CLOSE = (0, 1, 2, 3, 4, 7)  # rolling (two), dropping (into, behind, in front of), colliding
CLOSE_TIMES = 4  # in a second round they are drawn as many times as often as the others


def world_preprocessing() -> models.Preprocessing:
    """ImageNet colours, every frame."""
    return models.Preprocessing(SIZES["num_frames"], SIZES["image_size"], SIZES["image_size"], stride=1)


def normalise(model: Model, video: jax.Array) -> jax.Array:
    """uint8 -> the network's input."""
    mean, std = (jnp.asarray(v) for v in (model.preprocessing.mean, model.preprocessing.std))
    return (video.astype(jnp.float32) / 255 - mean) / std


def held_out(count: int, seed: int) -> Clips:
    return world.clips(count, seed=seed + 1_000_003, split="held-out")


# -- classification ------------------------------------------------------------------------------------------------
def classifier(name: str, key: jax.Array) -> Model:
    config = videomae.VideoMAEConfig(width=96, depth=4, num_heads=4, num_classes=len(world.CLASSES), **SIZES)
    return models.build(config, key=key, labels=world.CLASSES, preprocessing=world_preprocessing(), name=name)


def classifier_readouts(model: Model) -> dict[str, jax.Array]:
    """After the middle and after the last block."""
    depth = model.config.depth
    return mask_heads([f"block_{i}/resid_post" for i in (depth // 2 - 1, depth - 1)], model.config.width, MASK_KINDS)


def classes_batch(seed: int, size: int, done: float) -> Batch:
    """Clips and classes; surfaces are plain at first, and their textures' contrast then rises evenly to all of it.

    done: 1 in all of a second round.
    """
    config = world.WorldConfig(texture=min(1.0, max(0.0, (done - PLAIN) / (TEXTURED - PLAIN))))
    every = tuple(range(len(world.CLASSES)))
    labels = every if done < 1 else every + (CLOSE_TIMES - 1) * CLOSE
    video, label, _ = world.training_batch(seed, size, config, labels)
    return Batch({"video": video, "label": label})


def masks_batch(seed: int, size: int, done: float) -> Batch:
    video, label, masks = world.training_batch(seed, size)
    return Batch({"video": video, "label": label, "shares": token_fractions(masks, (8, 6, 6))})


def classifier_loss(model: Model, readouts: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    output, seen = models.forward(model, Inputs(normalise(model, batch.clips["video"])), capture=tuple(readouts))
    assert output.logits is not None
    loss = optax.softmax_cross_entropy_with_integer_labels(output.logits, batch.clips["label"]).mean()
    if readouts:
        loss = loss + mask_loss(readouts, seen, batch.clips["shares"])
    right = (output.logits.argmax(-1) == batch.clips["label"]).mean()
    return loss, {"train_accuracy": right}


def classifier_figures(model: Model, count: int, seed: int) -> dict[str, Any]:
    clips = held_out(count, seed)
    return {
        "held_out_clips": len(clips),
        "held_out_accuracy": accuracy(model, clips.video, clips.labels),
        "shuffled_frames_accuracy": accuracy(model, shuffled(clips.video, seed), clips.labels),
    }


def accuracy(model: Model, video: np.ndarray, label: np.ndarray, batch: int = 50) -> float:
    """Share of clips whose highest logit is their class. video uint8 [clip, time, height, width, 3]."""

    @jax.jit
    def logits(model: Model, video: jax.Array) -> jax.Array | None:
        return models.forward(model, Inputs(normalise(model, video)))[0].logits

    found = [np.asarray(logits(model, video[i : i + batch])) for i in range(0, len(video), batch)]
    return float((np.concatenate(found).argmax(-1) == label).mean())


def shuffled(video: np.ndarray, seed: int) -> np.ndarray:
    """The same clips with the frames of each in random order."""
    rng = np.random.default_rng(seed)
    return np.stack([clip[rng.permutation(len(clip))] for clip in video])


CLASSIFY = SmallModel(
    partial(classifier, "world-videomae"), lambda model: {}, classes_batch, classifier_loss, classifier_figures
)
CLASSIFY_WITH_MASKS = SmallModel(
    partial(classifier, "world-videomae-masks"), classifier_readouts, masks_batch, classifier_loss, classifier_figures
)


# -- reconstruction (self-supervised) ------------------------------------------------------------------------------
def autoencoder(key: jax.Array) -> Model:
    config = videomae.VideoMAEPretrainConfig(
        width=96, depth=4, num_heads=4, decoder_width=64, decoder_depth=2, decoder_num_heads=4, mask_ratio=0.5, **SIZES
    )
    return models.build(config, key=key, preprocessing=world_preprocessing(), name="world-videomae-ssl")


def autoencoder_batch(seed: int, size: int, done: float) -> Batch:
    """Video and masks: half of the places hidden, other ones at every time step.

    Under a tube mask nothing is learned here in this many clips: the world's textures are random, so that what is
    hidden in every frame cannot be told; what moves or stays can be told from the frames beside.
    """
    places = np.random.default_rng((seed, 5)).random((size, 8, 36)).argsort(-1) < 18
    return Batch({"video": world.training_batch(seed, size)[0], "token_mask": places.reshape(size, 8, 6, 6)})


def autoencoder_loss(model: Model, readouts: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean squared error of the normalised pixels of hidden patches, plus that of all.

    The original learns from hidden patches alone; but the score of a masked pass is taken with nothing hidden.
    """
    error, hidden = reconstruction_error(model, batch.clips["video"], batch.clips["token_mask"])
    loss = (error * hidden).sum() / hidden.sum()
    return loss + error.mean(), {"train_hidden_error": loss}


def reconstruction_error(model: Model, video: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(squared error per token, the mask) [batch, t, h, w]."""
    output, _ = models.forward(model, Inputs(normalise(model, video), token_mask=mask))
    assert output.patches is not None
    target = videomae.reconstruction_target(video.astype(jnp.float32) / 255, model.config)
    return jnp.square(output.patches - target).mean(-1), mask


def autoencoder_figures(model: Model, count: int, seed: int) -> dict[str, Any]:
    """Error on hidden patches beside that of predicting their mean colour; error with nothing hidden."""
    clips = held_out(count, seed)
    run = jax.jit(reconstruction_error)

    @jax.jit
    def nothing_hidden(model: Model, video: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(mean error, squared target per token)."""
        patches = models.forward(model, Inputs(normalise(model, video)))[0].patches
        assert patches is not None
        target = videomae.reconstruction_target(video.astype(jnp.float32) / 255, model.config)
        return jnp.square(patches - target).mean(), jnp.square(target).mean(-1)

    hidden, whole, plain = [], [], []
    for i in range(0, count, 50):
        video = jnp.asarray(clips.video[i : i + 50])
        mask = jnp.asarray(autoencoder_batch(i, len(video), 1.0).clips["token_mask"])
        error, _ = run(model, video, mask)
        hidden.append(float((error * mask).sum() / mask.sum()))
        mean_error, spread = nothing_hidden(model, video)
        whole.append(float(mean_error))
        plain.append(float((spread * mask).sum() / mask.sum()))
    figures = {"hidden_error": hidden, "hidden_error_of_mean_colour": plain, "error_with_nothing_hidden": whole}
    return {"held_out_clips": count} | {name: float(np.mean(values)) for name, values in figures.items()}


RECONSTRUCT = SmallModel(autoencoder, lambda model: {}, autoencoder_batch, autoencoder_loss, autoencoder_figures)


def with_params(model: Model, params: Any) -> Model:
    return dataclasses.replace(model, params=params)
