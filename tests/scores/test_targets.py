"""What a score is about: the true mask where it is known, else the tracker's own; overlap by frame."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.data import Clips
from vtcd_jax.importance import Context, find_targets
from vtcd_jax.models import InputError, Output
from vtcd_jax.models.families import tcow
from vtcd_jax.scores.functions import default_scores, iou, soft_iou

pytestmark = pytest.mark.compile


def output_of(logits: np.ndarray) -> Output:
    return Output(masks=jnp.stack([jnp.asarray(logits, jnp.float32)] + [jnp.zeros(logits.shape)] * 2, axis=-1))


def context_of(mask: np.ndarray) -> Context:
    return Context(jnp.zeros((*mask.shape, 3)), jnp.zeros(len(mask), jnp.int32), jnp.asarray(mask))


def test_iou_is_the_mean_over_the_frames_that_have_the_object():
    mask = np.zeros((1, 3, 4, 4), bool)
    mask[0, 0, :2, :2] = mask[0, 1, 0, 0] = True  # nothing in the last frame
    logits = np.full(mask.shape, -3.0)
    logits[0, 0, :2, :4] = 3.0  # 4 of 8
    logits[0, 1, 0, 0] = 3.0  # right
    logits[0, 2] = 3.0  # does not count
    np.testing.assert_allclose(iou(output_of(logits), context_of(mask)), [0.75])


def test_the_smooth_overlap_comes_to_the_same_for_sure_logits_and_has_a_slope():
    rng = np.random.default_rng(0)
    mask, found = rng.random((2, 2, 3, 6, 6)) < 0.4
    logits = np.where(found, 40.0, -40.0)
    np.testing.assert_allclose(soft_iou(output_of(logits), context_of(mask)), iou(output_of(logits), context_of(mask)))
    slope = jax.grad(lambda logits: soft_iou(output_of(logits), context_of(mask)).sum())(jnp.zeros(mask.shape))
    assert (slope[mask] > 0).all() and (slope[~mask] <= 0).all()


def test_a_network_without_masks_is_told_so():
    with pytest.raises(InputError, match="gives masks"):
        iou(Output(logits=jnp.zeros((1, 3))), context_of(np.ones((1, 1, 2, 2), bool)))


@pytest.fixture(scope="module")
def tracker():
    config = tcow.TCOWConfig(
        image_height=16, image_width=16, patch_size=8, num_frames=3, width=16, depth=1, num_heads=2
    )
    return models.build(config)


def tracked_clips(**masks: np.ndarray) -> Clips:
    rng = np.random.default_rng(1)
    query = np.zeros((2, 3, 16, 16), bool)
    query[:, 0, 4:9, 4:9] = True
    video = rng.integers(0, 256, (2, 3, 16, 16, 3), dtype=np.uint8)
    return Clips.make(video, ["a", "b"], masks=masks, query=query)


def test_a_tracker_is_scored_by_the_true_mask_where_it_is_known(tracker):
    seen, whole = np.zeros((2, 2, 3, 16, 16), bool)
    seen[..., :4, :4] = whole[..., :6, :6] = True
    assert default_scores(tracker) == ("iou", "soft_iou")
    found = find_targets(tracker, tracked_clips(target=seen, target_whole=whole))
    np.testing.assert_array_equal(found.mask, whole)  # what is hidden counts too
    np.testing.assert_array_equal(find_targets(tracker, tracked_clips(target=seen)).mask, seen)


def test_its_own_mask_is_what_the_unmodified_model_gives(tracker):
    clips = tracked_clips()
    found = find_targets(tracker, clips)
    video = tracker.preprocessing.normalise(clips.video)
    masks = models.forward(tracker, models.Inputs(video, query=clips.query.astype(np.float32)))[0].masks
    np.testing.assert_array_equal(found.mask, np.asarray(masks)[..., 0] > 0)
    assert "own" in found.origin and found[[1]].mask.shape == (1, 3, 16, 16)
    whole = np.ones((2, 3, 16, 16), bool)
    own = find_targets(tracker, tracked_clips(target=whole), reference="own")
    np.testing.assert_array_equal(own.mask, found.mask)


def test_a_tracker_that_finds_nothing_cannot_be_scored_by_its_own_mask(tracker):
    params = jax.tree.map(lambda leaf: leaf, tracker.params)
    params["mask_head"]["bias"] = jnp.full_like(params["mask_head"]["bias"], -100.0)
    with pytest.raises(InputError, match="a: .*another query"):
        find_targets(dataclasses.replace(tracker, params=params), tracked_clips())
