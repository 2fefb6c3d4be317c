"""Fixtures of masked passes: a small classifier, three clips of noise, eight concepts on its keys, and discovered ones.

A folder takes them by importing them in its ``conftest.py``.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.concepts import Concepts, NmfConfig, SlicConfig, discover
from vtcd_jax.data import Clips
from vtcd_jax.importance import Support
from vtcd_jax.models import Model
from vtcd_jax.models.families import videomae

SMALL = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 16, "depth": 2, "num_heads": 2}
SITES = ("block_0/attn/key", "block_1/attn/key")


@pytest.fixture(scope="package")
def model() -> Model:
    labels = ("rolling", "dropping", "staying")
    return models.build(videomae.VideoMAEConfig(num_classes=3, **SMALL), key=jax.random.key(3), labels=labels)


@pytest.fixture(scope="package")
def clips() -> Clips:
    video = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3), np.uint8)
    return Clips.make(video, ["a", "b", "c"], labels=[0, 1, 2])


@pytest.fixture(scope="package")
def support() -> Support:
    """Eight concepts, four per site (two per head), and tokens of none."""
    rng = np.random.default_rng(1)
    ids = {}
    for s, site in enumerate(SITES):
        number = rng.integers(-1, 2, (3, 2, 2, 2, 2, 1))
        head = np.arange(2)[None, None, None, None, :, None]
        ids[site] = np.where(number < 0, -1, 4 * s + 2 * head + number).astype(np.int32)
    return Support(ids, 8)


@pytest.fixture(scope="package")
def concepts(model, clips) -> Concepts:
    """What discovery gives for the clips."""
    slic = SlicConfig(n_segments=4)
    return discover(model, clips, slic=slic, nmf=NmfConfig(max_steps=50, refits=0), key=0)
