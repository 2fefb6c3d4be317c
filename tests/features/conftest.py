"""A small classifier with two blocks, and four clips of noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.data import Clips
from vtcd_jax.models import Model, family_of
from vtcd_jax.models.families import videomae

SIZES = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 8, "depth": 2, "num_heads": 2}


def clips_for(model: Model, count: int, seed: int = 0) -> Clips:
    """Noise of the network's size, with a query mask where it needs one."""
    p, rng = model.preprocessing, np.random.default_rng(seed)
    video = rng.integers(0, 256, (count, p.num_frames, p.height, p.width, 3), np.uint8)
    query = None
    if "query" in family_of(model).needs:
        query = np.zeros(video.shape[:4], bool)
        query[:, 0, 2:9, 3:11] = True
    return Clips.make(video, [f"clip {i}" for i in range(count)], query=query)


@pytest.fixture(scope="package")
def model() -> Model:
    labels = ("rolling", "dropping", "staying")
    config, rng = videomae.VideoMAEConfig(num_classes=3, **SIZES), np.random.default_rng(3)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(0, 0.3, s.shape), jnp.float32), models.param_shapes(config))
    return models.build(config, params=params, labels=labels)


@pytest.fixture(scope="package")
def clips(model) -> Clips:
    return clips_for(model, 4)
