"""Requests that look right and are not: each is understood, or refused in a line."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.base.random import as_key
from vtcd_jax.models import InputError, Inputs, Preprocessing
from vtcd_jax.models.families import videomae

pytestmark = pytest.mark.compile

SIZES = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 16, "depth": 1, "num_heads": 2}
PIXELS = np.random.default_rng(0).integers(0, 256, (1, 4, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def model():
    return models.build(videomae.VideoMAEConfig(num_classes=3, **SIZES), key=1)


def test_pixels_run_from_0_to_255_whatever_their_type():
    p = Preprocessing(4, 16, 16)
    expected = p.normalise(PIXELS)
    for kind in (np.float32, np.float64, np.int32):
        np.testing.assert_allclose(p.normalise(PIXELS.astype(kind)), expected, atol=1e-6)
    np.testing.assert_array_equal(p.normalise(np.zeros((2, 3), np.float32)), p.normalise(np.zeros((2, 3), np.uint8)))


def test_pixels_of_another_range_are_not_normalised_again():
    """Divided by 255 once more they would be almost black, and every clip of the same class."""
    p = Preprocessing(4, 16, 16)
    with pytest.raises(InputError, match="from 0 to 1, not from 0 to 255; multiply them by 255"):
        p.normalise(PIXELS / np.float32(255))
    with pytest.raises(InputError, match="from 0 to 1"):
        p.normalise(PIXELS > 100)
    for wrong in (p.normalise(PIXELS), PIXELS.astype(np.float32) * 2, np.full((2, 3), np.nan, np.float32)):
        with pytest.raises(InputError, match="not from 0 to 255"):
            p.normalise(wrong)


def test_pixels_that_were_never_normalised_are_refused(model):
    for video in (PIXELS, PIXELS.astype(np.int32)):
        with pytest.raises(InputError, match=r"Inputs\(model.preprocessing.normalise\(video\)\)"):
            models.forward(model, Inputs(video))
        with pytest.raises(InputError, match="normalise"):
            jax.jit(models.forward)(model, Inputs(video))


def test_a_site_may_stand_alone(model):
    inputs = Inputs(model.preprocessing.normalise(PIXELS))
    _, one = models.forward(model, inputs, capture="block_0/attn/key")
    _, several = models.forward(model, inputs, capture=("block_0/attn/key",))
    assert list(one) == ["block_0/attn/key"]
    np.testing.assert_array_equal(one["block_0/attn/key"], several["block_0/attn/key"])
    with pytest.raises(ValueError, match="no tap site 'block_9/attn/key'"):
        models.forward(model, inputs, capture="block_9/attn/key")


def test_a_seed_is_a_whole_number_or_a_key(model):
    same = models.build(model.config, key=np.int64(1))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), same.params, model.params)))
    key = jax.random.key(3)
    assert as_key(key) is key and (jax.random.key_data(as_key(3)) == jax.random.key_data(key)).all()
    np.testing.assert_array_equal(as_key(jax.random.PRNGKey(3)), jax.random.key_data(key))
    for bad in (True, jax.random.split(key), np.zeros(3, np.uint32)):
        with pytest.raises(InputError, match="is no seed"):
            as_key(bad)
