"""The shipped model is really trained: right on textures it never saw, lost when time is shuffled."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.data import world
from vtcd_jax.models import Inputs
from vtcd_jax.models.store import WEIGHTS


@pytest.fixture(scope="module")
def model():
    return models.load("world-videomae")


def accuracy(model, video: np.ndarray, labels: np.ndarray) -> float:
    predict = jax.jit(lambda m, v: models.forward(m, Inputs(v))[0].logits.argmax(-1))
    pixels = model.preprocessing.normalise(video)
    return float(np.concatenate([predict(model, p) for p in np.split(pixels, len(pixels) // 14)]).__eq__(labels).mean())


def test_it_knows_the_classes_by_motion(model):
    """On 140 held-out clips; with the frames of each in random order it must fall steeply (chance is 7 %)."""
    clips = world.clips(140, seed=5, split="held-out")
    assert model.labels == world.CLASSES
    assert accuracy(model, clips.video, clips.labels) >= 0.95
    rng = np.random.default_rng(0)
    shuffled = np.stack([clip[rng.permutation(len(clip))] for clip in clips.video])
    assert accuracy(model, shuffled, clips.labels) <= 0.35


def test_its_manifest_tells_how_it_was_made():
    folder = WEIGHTS / "world-videomae"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == "scripts/train_world.py" and manifest["recipe"]["seed"] == 0
    assert manifest["figures"]["held_out_clips"] == 1000 and manifest["figures"]["held_out_accuracy"] >= 0.9
    assert sum(p.stat().st_size for p in folder.iterdir()) < 4_000_000
