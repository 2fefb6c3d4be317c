"""The shipped models are really trained: right on textures that they never saw, lost when time is shuffled."""

from __future__ import annotations

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models, world
from vtcd_jax.data import tracking
from vtcd_jax.models import Inputs, Model
from vtcd_jax.models.families.videomae import reconstruction_target
from vtcd_jax.models.store import WEIGHTS, tokenizer_of
from vtcd_jax.world.generator import WorldConfig

pytestmark = pytest.mark.compile


@partial(jax.jit, static_argnames="field")
def output_of(model: Model, inputs: Inputs, field: str) -> jax.Array:
    return getattr(models.forward(model, inputs)[0], field)


def accuracy(model, video: np.ndarray, labels: np.ndarray) -> float:
    predict = jax.jit(lambda m, v: models.forward(m, Inputs(v))[0].logits.argmax(-1))
    pixels = model.preprocessing.normalise(video)
    return float(np.concatenate([predict(model, p) for p in np.split(pixels, len(pixels) // 14)]).__eq__(labels).mean())


def held_out(model, count: int, seed: int = 5):
    p = model.preprocessing
    return world.clips(count, seed=seed, split="held-out", config=WorldConfig(size=p.height, frames=p.num_frames))


@pytest.mark.parametrize(
    ("name", "least"), [("world-videomae", 0.93), ("world-videomae-masks", 0.95), ("world-internvideo", 0.8)]
)
def test_the_classes_are_known_by_motion(name, least):
    """On 140 held-out clips; with the frames of each in random order it must fall steeply (chance is 7 %)."""
    model = models.load(name)
    clips = held_out(model, 140)
    assert model.labels == world.CLASSES
    assert accuracy(model, clips.video, clips.labels) >= least
    rng = np.random.default_rng(0)
    shuffled = np.stack([clip[rng.permutation(len(clip))] for clip in clips.video])
    assert accuracy(model, shuffled, clips.labels) <= least - 0.25


def test_sentences_are_compared_with_clips():
    """The prompts that are shipped are the text tower's own; other words for a class find its clips too."""
    model = models.load("world-internvideo")
    tokenizer = tokenizer_of("world-internvideo")
    ids = tokenizer.encode(world.CLASSES, model.config.context_length)
    clips = held_out(model, 28, seed=6)
    video = jnp.asarray(model.preprocessing.normalise(clips.video))
    found = output_of(model, Inputs(video, text=jnp.asarray(ids)), "text_features")
    np.testing.assert_allclose(np.asarray(found), np.asarray(model.prompts), rtol=2e-4, atol=2e-5)
    asked = tokenizer.encode(["a red disc rolls to the right", "a red disc comes closer"], model.config.context_length)
    logits = np.asarray(output_of(model, Inputs(video, text=jnp.asarray(asked)), "logits"))
    right, closer = (logits[clips.labels == world.CLASSES.index(name)] for name in (
        "Rolling something from left to right", "Something approaching"))  # fmt: skip
    assert (right[:, 0] > right[:, 1]).mean() > 0.5 and (closer[:, 1] > closer[:, 0]).mean() > 0.5


def test_the_tracker_follows_what_is_hidden():
    model = models.load("world-tcow")
    clips = held_out(model, 56)
    run = jax.jit(lambda m, v, q: models.forward(m, Inputs(v, query=q))[0].masks[..., 0] > 0)
    pixels, query = model.preprocessing.normalise(clips.video), clips.query.astype(np.float32)
    found = np.concatenate([run(model, pixels[i : i + 14], query[i : i + 14]) for i in range(0, 56, 14)])
    whole, seen = clips.masks["target_whole"], clips.masks["target"]
    iou = tracking.mask_iou(found, whole)
    hidden = whole.any((2, 3)) & ~seen.any((2, 3))
    assert hidden.sum() > 20
    assert np.nanmean(iou, axis=1).mean() >= 0.6
    assert iou[hidden].mean() >= 0.4


def test_the_autoencoder_sees_through_its_mask():
    """It predicts hidden patches better than their mean colour does, if not by much, and keeps what it sees."""
    model = models.load("world-videomae-ssl")
    clips = held_out(model, 28)
    mask = (np.random.default_rng(0).random((28, 8, 36)).argsort(-1) < 18).reshape(28, *model.config.grid)
    video = jnp.asarray(model.preprocessing.normalise(clips.video))
    # The number of visible tokens is read from the mask, which therefore stays outside what is traced.
    patches = jax.jit(lambda m, v: models.forward(m, Inputs(v, token_mask=mask))[0].patches)(model, video)
    target = reconstruction_target(clips.video.astype(np.float32) / 255, model.config)
    error, plain = (np.asarray(jnp.square(e).mean(-1))[mask].mean() for e in (patches - target, target))
    assert error < 0.98 * plain
    patches = output_of(model, Inputs(video), "patches")
    assert float(jnp.square(patches - target).mean()) < 0.6


@pytest.mark.parametrize("name", models.names())
def test_its_manifest_tells_how_it_was_made(name):
    folder = WEIGHTS / name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == "scripts/train_world.py" and manifest["recipe"]["seed"] >= 0
    assert manifest["recipe"].get("start") is None or "recipe" in manifest["start"], "of an earlier round, too"
    assert manifest["figures"]["held_out_clips"] == 1000
    assert sum(p.stat().st_size for p in folder.iterdir()) < 4_000_000
