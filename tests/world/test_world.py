"""The synthetic world: what its clips and masks promise to whoever measures against them."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax import world
from vtcd_jax.base.errors import InputError
from vtcd_jax.data.clips import Clips
from vtcd_jax.world import textures as world_textures

RIGHT = world.CLASSES.index("Rolling something from left to right")
LEFT = world.CLASSES.index("Rolling something from right to left")
NEARER = world.CLASSES.index("Something approaching")
FARTHER = world.CLASSES.index("Something moving away")
INTO = world.CLASSES.index("Dropping something into something")
DROP_BEHIND = world.CLASSES.index("Dropping something behind something")
DROP_FRONT = world.CLASSES.index("Dropping something in front of something")
PASS_BEHIND = world.CLASSES.index("Passing behind something")
COLLIDE = world.CLASSES.index("Two objects colliding")
COVER = world.CLASSES.index("Covering something and carrying it along")
PAN = world.CLASSES.index("Camera panning")
STILL = world.CLASSES.index("Something staying still")


def centre(mask: np.ndarray) -> np.ndarray:
    """(y, x) of a mask's centre in each frame: [time, 2]."""
    return np.array([np.argwhere(frame).mean(axis=0) for frame in mask])


def test_a_seed_gives_the_same_clip_again_and_another_seed_another():
    first, again, other = world.sample(3), world.sample(3), world.sample(4)
    for name in ("video", "target", "target_whole", "occluder", "container", "depth"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert (first.events, first.label) == (again.events, again.label)
    assert (first.video != other.video).mean() > 0.5


@pytest.mark.parametrize("size, frames", [(48, 16), (32, 8), (64, 16)])
def test_arrays_have_the_documented_shapes_and_types(size, frames):
    clip = world.sample(0, RIGHT, world.WorldConfig(size=size, frames=frames))
    assert clip.video.shape == (frames, size, size, 3) and clip.video.dtype == np.uint8
    for mask in (clip.target, clip.target_whole, clip.occluder, clip.container):
        assert mask.shape == (frames, size, size) and mask.dtype == bool
    assert clip.depth.dtype == np.int8


@pytest.mark.parametrize("one, reverse", [(RIGHT, LEFT), (NEARER, FARTHER)])
def test_opposite_classes_are_each_other_run_backwards(one, reverse):
    for seed in range(10):
        forward, backward = world.sample(seed, one), world.sample(seed, reverse)
        np.testing.assert_array_equal(forward.target[::-1], backward.target)
        np.testing.assert_array_equal(forward.depth[::-1], backward.depth)
        assert backward.events["onset"] == 15 - forward.events["end"]


def test_rolling_to_the_right_moves_right_and_approaching_grows():
    for seed in range(20):
        x = centre(world.sample(seed, RIGHT).target_whole)[:, 1]
        assert (np.diff(x) > -0.6).all() and x[-1] - x[0] > 6
        area = world.sample(seed, NEARER).target_whole.sum(axis=(1, 2))
        assert area[-1] > 1.5 * area[0]


def test_positions_do_not_tell_left_from_right():
    """Frames drawn without their time: the target's position has one distribution, and spans the frame."""
    x = {label: [] for label in (RIGHT, LEFT)}
    for label, offset in ((RIGHT, 0), (LEFT, 1000)):
        for seed in range(offset, offset + 200):
            x[label].append(centre(world.sample(seed, label).target_whole)[:, 1].mean())
    gap = np.mean(x[RIGHT]) - np.mean(x[LEFT])
    error = np.sqrt((np.var(x[RIGHT]) + np.var(x[LEFT])) / 200)
    assert abs(gap) < 4 * error
    assert abs(np.mean(x[RIGHT]) - 23.5) < 2


@pytest.mark.slow
def test_a_linear_probe_of_one_frame_learns_little():
    def frames(count, seed, split):
        clips = world.clips(count, seed, split=split)
        times = np.random.default_rng(seed).integers(16, size=count)
        small = clips.video[np.arange(count), times].reshape(count, 12, 4, 12, 4, 3).mean(axis=(2, 4))
        return np.c_[small.reshape(count, -1) / 64 - 2, np.ones(count)], clips.labels

    (x, y), (x_new, y_new) = frames(1400, 1, "train"), frames(700, 2, "held-out")
    weights = np.linalg.solve(x.T @ x + 300 * np.eye(x.shape[1]), x.T @ np.eye(len(world.CLASSES))[y])
    assert ((x_new @ weights).argmax(axis=1) == y_new).mean() < 0.3


@pytest.mark.parametrize("label", range(len(world.CLASSES)))
def test_masks_agree_with_each_other_and_with_depth(label):
    for seed in range(6):
        clip = world.sample(seed, label)
        assert not (clip.target & ~clip.target_whole).any()
        assert not (clip.target & (clip.occluder | clip.container)).any()
        assert clip.target.any() and (clip.occluder.any() != clip.container.any())
        hider = clip.depth[clip.target_whole & ~clip.target]
        slot = clip.depth[clip.target]
        assert (slot == slot[0]).all() and (hider > slot[0]).all()
        assert set(np.unique(clip.depth)) <= {int(layer) for layer in world.Layer}


def test_hidden_frames_show_no_target_and_behind_or_covered_targets_do_get_hidden():
    for label in (DROP_BEHIND, PASS_BEHIND, COVER):
        found = 0
        for seed in range(12):
            clip = world.sample(seed, label)
            start, stop = clip.events["hidden_from"], clip.events["hidden_to"]
            if start >= 0:
                found += 1
                assert not clip.target[[start, stop]].any()
                assert clip.target_whole[[start, stop]].any(axis=(1, 2)).all()
                assert (label == PASS_BEHIND) or not clip.target[start:].any()
        assert found >= 8


def test_events_say_when_things_happen():
    for seed in range(12):
        still, drop = world.sample(seed, STILL), world.sample(seed, DROP_FRONT)
        assert set(still.events.values()) <= {-1, *range(16)} and still.events["onset"] == -1
        onset, contact = drop.events["onset"], drop.events["contact"]
        y = centre(drop.target_whole)[:, 0]
        assert np.ptp(y[: onset + 1]) == 0 and np.ptp(y[contact:]) == 0 and y[contact] > y[onset] + 8
        hit = world.sample(seed, COLLIDE)
        second = hit.depth == world.Layer.SECOND
        contact = hit.events["contact"]
        assert (second[: contact + 1] == second[0]).all() and (second[-1] != second[contact]).any()


def test_nothing_but_the_camera_moves_in_a_pan_and_nothing_at_all_in_a_still_clip():
    still, pan = world.sample(5, STILL), world.sample(5, PAN)
    assert (still.depth == still.depth[0]).all()
    assert np.abs(still.video.astype(int) - still.video[0]).max() <= 2 * world_textures.NOISE_LIMIT
    changed = (np.abs(pan.video[-1].astype(int) - pan.video[0]) > 0).mean()
    assert (pan.depth[-1] != pan.depth[0]).any() and changed > 0.5


def test_dropping_into_needs_a_container_that_the_target_enters():
    for seed in range(12):
        clip = world.sample(seed, INTO)
        assert clip.container.any() and not clip.occluder.any()
        assert clip.target[-1].sum() < clip.target_whole[-1].sum()


def test_clips_are_balanced_named_and_reproducible_from_their_names():
    clips = world.clips(30, 7, split="held-out")
    assert isinstance(clips, Clips) and len(clips) == 30
    counts = np.bincount(clips.labels, minlength=len(world.CLASSES))
    assert counts.max() - counts.min() <= 1
    _, split, label, seed = clips.names[4].split("_")
    np.testing.assert_array_equal(world.sample(int(seed), int(label), split=split).video, clips.video[4])
    assert set(world.clips(10, 7, labels=[LEFT, PAN]).labels.tolist()) == {LEFT, PAN}


def test_training_batches_are_balanced_and_change_with_the_seed():
    video, labels, masks = world.training_batch(0, 28)
    assert video.shape == (28, 16, 48, 48, 3) and masks.shape == video.shape and masks.max() == 1
    assert (np.bincount(labels) == 2).all()
    assert (world.training_batch(1, 28)[0] != video).mean() > 0.5
    more_often = world.training_batch(0, 6, labels=[LEFT, LEFT, PAN])[1]
    assert (more_often == LEFT).sum() == 4 and (more_often == PAN).sum() == 2


def test_fainter_textures_change_the_surfaces_and_nothing_else():
    whole, faint, plain = (world.sample(3, config=world.WorldConfig(texture=t)) for t in (1.0, 0.5, 0.0))
    np.testing.assert_array_equal(whole.video, world.sample(3).video)
    for other in (faint, plain):
        assert other.label == whole.label and other.colour == whole.colour and other.events == whole.events
        for name in ("target", "target_whole", "occluder", "container", "depth"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))
    background = whole.depth == 0
    spreads = [clip.video[background].astype(float).std() for clip in (whole, faint, plain)]
    assert spreads[0] > 1.2 * spreads[1] > 1.2 * spreads[2]


def test_held_out_clips_use_other_parts_of_the_photographs():
    import skimage.data

    train, held_out = (world_textures.photograph_parts(split) for split in world.SPLITS)
    for name, left, right in zip(world_textures.PHOTOGRAPHS, train, held_out, strict=True):
        whole = getattr(skimage.data, name)()
        whole = whole.reshape(*whole.shape[:2], -1)
        assert left.shape[1] + right.shape[1] < whole.shape[1]
        np.testing.assert_array_equal(left[..., 0], whole[:, : left.shape[1], 0])
        np.testing.assert_array_equal(right[..., 0], whole[:, -right.shape[1] :, 0])
    assert (world.sample(0).video != world.sample(0, split="held-out").video).mean() > 0.5


def test_iou_ceiling_is_one_for_whole_tokens_and_the_known_value_for_half_tokens():
    masks = np.zeros((3, 4, 8, 8), bool)
    masks[0, :2, :4, :4] = True  # one token of a (2, 2, 2) grid
    masks[1, :2, :4, :4] = True
    masks[1, 2:, :4, :1] = True  # and a quarter of another: best left out, 32 of 40 voxels
    clips = Clips.make(np.arange(3 * 4 * 64 * 3, dtype=np.uint8).reshape(3, 4, 8, 8, 3), "abc", masks={"target": masks})
    np.testing.assert_allclose(world.iou_ceiling(clips, (2, 2, 2)), [1.0, 0.8, np.nan])
    with pytest.raises(InputError, match="does not divide"):
        world.iou_ceiling(clips, (3, 2, 2))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: world.sample(0, len(world.CLASSES)), "not a class"),
        (lambda: world.sample(-1), "negative"),
        (lambda: world.sample(0, split="test"), "held-out"),
        (lambda: world.WorldConfig(size=8), "too small"),
        (lambda: world.WorldConfig(texture=1.5), "from 0 to 1"),
        (lambda: world.clips(0, 0), "at least 1"),
    ],
)
def test_bad_requests_are_named(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_clips_that_are_drawn_when_they_are_read_are_the_same():
    config = world.WorldConfig(size=24, frames=8)
    every, lazy = world.clips(5, 3, config=config), world.open_world(5, 3, config=config)
    assert (lazy.names, lazy.hashes, lazy.pixel_hashes) == (every.names, every.hashes, every.pixel_hashes)
    got, expected = lazy[[4, 1]].read([1, 0]), every[[1, 4]]
    np.testing.assert_array_equal(got.video, expected.video)
    np.testing.assert_array_equal(got.query, expected.query)
    np.testing.assert_array_equal(got.labels, expected.labels)
    assert lazy.mask_names == every.mask_names == tuple(got.masks)
    for name, mask in expected.masks.items():
        np.testing.assert_array_equal(got.masks[name], mask)
