"""Edits that people ask for by name, and clips that go straight into a network."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import vtcd_jax as vtcd
from vtcd_jax.data import Clips
from vtcd_jax.models import Edit, InputError, Inputs, forward
from vtcd_jax.models.taps import inputs_of

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def model():
    return vtcd.models.load("world-videomae")


@pytest.fixture(scope="module")
def clips() -> Clips:
    return vtcd.world.clips(3, seed=0, split="held-out")


def test_a_set_value_takes_the_place_of_what_was_there(model, clips):
    """Patching: clip 0 with the stream of clip 1 after block 2 predicts what clip 1 does."""
    site = "block_2/resid_post"
    names = [name for name in vtcd.models.sites(model) if name.startswith("block_2/")]
    site = site if site in names else names[-1]
    plain, seen = forward(model, clips, capture=site)
    patched, after = forward(model, clips[[0]], edits={site: Edit.set(seen[site][1:2])}, capture=site)
    np.testing.assert_allclose(after[site], seen[site][1:2], rtol=1e-6)
    assert np.abs(np.asarray(patched.logits) - np.asarray(plain.logits)[0]).max() > 1e-3


def test_removed_heads_add_nothing(model, clips):
    site = "block_1/attn/mixed"
    _, seen = forward(model, clips, edits={site: Edit.heads([0, 2], 4)}, capture=site)
    _, plain = forward(model, clips, capture=site)
    assert not np.asarray(seen[site])[..., [0, 2], :].any()
    np.testing.assert_array_equal(seen[site][..., [1, 3], :], plain[site][..., [1, 3], :])
    with pytest.raises(InputError, match="heads 4, -1 are not among 0 to 3"):
        Edit.heads([4, -1, 0], 4)


def test_clips_and_pixels_are_normalised_on_the_way_in(model, clips):
    expected = forward(model, Inputs(jnp.asarray(model.preprocessing.normalise(clips.video))))[0].logits
    for given in (clips, clips.video, clips.video.astype(np.float32)):
        np.testing.assert_array_equal(forward(model, given)[0].logits, expected)
    on_device = np.asarray(forward(model, jnp.asarray(clips.video))[0].logits)
    np.testing.assert_allclose(on_device, np.asarray(expected), atol=1e-4)


def test_a_tracker_gets_the_clips_query_masks(clips):
    tracker = vtcd.models.load("world-tcow")
    inputs = inputs_of(tracker, clips)
    np.testing.assert_array_equal(inputs.query, clips.query)
    np.testing.assert_array_equal(inputs.video, tracker.preprocessing.normalise(clips.video))
    assert inputs_of(vtcd.models.load("world-videomae"), clips).query is None


@pytest.mark.parametrize("given, message", [
    (np.zeros((16, 48, 48, 3), np.uint8), r"\[16, 48, 48, 3\] is no batch"),
    (np.full((1, 16, 48, 48, 3), 0.5, np.float32), "multiply them by 255"),
    (jnp.zeros((1, 16, 48, 48, 3)), "if they are normalised give Inputs"),
])  # fmt: skip
def test_what_is_no_batch_of_pixels_is_refused(model, given, message):
    with pytest.raises(InputError, match=message):
        forward(model, given)
