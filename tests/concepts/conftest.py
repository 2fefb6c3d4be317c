"""A tiny network and four clips; modules that need others make their own."""

from __future__ import annotations

import jax
import pytest

from vtcd_jax import models
from vtcd_jax.data.clips import Clips
from vtcd_jax.models import Model
from vtcd_jax.models.families.videomae import VideoMAEConfig

from .test_tokens import SIZES, make_clips


@pytest.fixture(scope="module")
def model() -> Model:
    return models.build(VideoMAEConfig(**SIZES, num_classes=3), key=jax.random.key(0), name="tiny")


@pytest.fixture(scope="module")
def clips() -> Clips:
    return make_clips(4)
