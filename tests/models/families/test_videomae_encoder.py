"""An encoder without a head: concepts are found in it and ranked by a score of its features."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import concepts, importance, models
from vtcd_jax.data import Clips
from vtcd_jax.models.families.videomae_encoder import VideoMAEEncoderConfig

pytestmark = pytest.mark.compile

SIZES = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 16, "depth": 1, "num_heads": 2}


def first_feature(output, context):
    return output.video_features[:, 0].astype(jnp.float32)


@pytest.mark.slow
def test_its_concepts_are_ranked_by_a_score_of_the_features():
    model = models.build(VideoMAEEncoderConfig(**SIZES), key=0)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3), dtype=np.uint8)
    clips = Clips.make(pixels, ["a", "b", "c"])
    found = concepts.discover(model, clips, key=0)
    ranked = importance.cris(model, clips, found, score=first_feature, masks=8, key=1)
    assert ranked.score == "first_feature" and np.abs(ranked.importance).max() > 0
