"""Augmentations do what their formulas say, the same in all frames, and draw from their generator alone."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
from skimage import color

from vtcd_jax.models import InputError
from vtcd_jax.training.augment import (
    blur,
    chain,
    colour_jitter,
    flip,
    grey,
    random_frames,
    resized_crop,
    uniform_windows,
)
from vtcd_jax.training.augment.colour import _turned

SEEDS = range(200)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def still(height: int = 24, width: int = 30, frames: int = 3) -> np.ndarray:
    """A clip whose frames are equal noise."""
    frame = rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return np.stack([frame] * frames)


def places(height: int = 100, width: int = 120) -> np.ndarray:
    """A clip whose red says the row, and whose green the column."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.stack([np.stack([rows, columns, 0 * rows], axis=-1)] * 2).astype(np.uint8)


ALL = [
    partial(resized_crop, size=(12, 10)),
    flip,
    partial(colour_jitter, brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25),
    partial(grey, probability=0.5),
    blur,
    chain(partial(resized_crop, size=(12, 10)), flip, partial(colour_jitter, hue=0.2), grey, blur),
]


@pytest.mark.parametrize("change", ALL, ids=["crop", "flip", "jitter", "grey", "blur", "chain"])
def test_what_is_drawn_is_drawn_once_for_all_frames(change):
    """Equal frames stay equal; the same generator gives the same clip, others give others; the input stays as it is."""
    clip = still()
    before = clip.copy()
    changed = [change(rng(seed), clip) for seed in range(20)]
    assert all((one == one[0]).all() and one.dtype == np.uint8 for one in changed)
    assert all(np.array_equal(one, change(rng(seed), clip)) for seed, one in enumerate(changed))
    assert len({one.tobytes() for one in changed}) > 1
    assert np.array_equal(clip, before)
    assert np.array_equal(pickle.loads(pickle.dumps(change))(rng(4), clip), changed[4])


def test_boxes_have_the_area_and_the_ratio_that_were_asked_for():
    """Read off the pixels of clips that say their places; both ends of the ranges are reached."""
    areas, ratios, tops = [], [], []
    for seed in SEEDS:
        crop = resized_crop(rng(seed), places(), (40, 40), scale=(0.2, 0.8), ratio=(0.5, 2.0))[0].astype(float)
        height = (crop[-5, :, 0] - crop[4, :, 0]).mean() * 40 / 31
        width = (crop[:, -5, 1] - crop[:, 4, 1]).mean() * 40 / 31
        areas.append(height * width / 12000)
        ratios.append(width / height)
        tops.append(crop[0, 0, 0])
    assert 0.17 < min(areas) < 0.25 and 0.7 < max(areas) < 0.84
    assert 0.47 < min(ratios) < 0.65 and 1.5 < max(ratios) < 2.15
    assert abs(np.median(np.log(ratios))) < 0.15 and min(tops) < 3 and max(tops) > 40


def test_the_whole_frame_at_its_size_is_the_clip():
    clip = still(20, 20)
    assert np.array_equal(resized_crop(rng(1), clip, (20, 20), scale=(1.0, 1.0), ratio=(1.0, 1.0)), clip)


def test_a_box_that_never_fits_is_taken_from_the_middle():
    """A square of the whole area does not fit into a frame twice as wide as high."""
    crop = resized_crop(rng(0), places(40, 80), (40, 40), scale=(1.0, 1.0), ratio=(1.0, 1.0))
    assert np.array_equal(crop, places(40, 80)[:, :, 20:60])


def test_a_flip_is_a_mirror_image_in_half_of_the_cases():
    clip = still()
    assert np.array_equal(flip(rng(0), clip, 1.0), clip[:, :, ::-1])
    assert np.array_equal(flip(rng(0), clip, 0.0), clip)
    assert 70 < sum(not np.array_equal(flip(rng(seed), clip), clip) for seed in SEEDS) < 130


def test_jitter_without_strength_changes_nothing():
    assert np.array_equal(colour_jitter(rng(0), still()), still())
    assert np.array_equal(colour_jitter(rng(0), still(), 0.5, 0.5, 0.5, 0.5, probability=0.0), still())


def test_brightness_is_a_factor_within_its_range():
    """At most 1.5 here, so that nothing is cut off."""
    clip = np.full((2, 4, 4, 3), 100, np.uint8)
    values = [colour_jitter(rng(seed), clip, brightness=0.5)[0, 0, 0, 0] for seed in SEEDS]
    assert 50 <= min(values) < 55 and 145 < max(values) <= 150 and abs(np.mean(values) - 100) < 6


def test_contrast_scales_the_distance_from_the_mean_luminance():
    clip = (still() // 2 + 64).astype(np.uint8)  # within 64 to 191: a factor up to 1.5 cuts nothing off
    light = clip.astype(float) @ [0.2989, 0.587, 0.114]
    for seed in range(5):
        changed = colour_jitter(rng(seed), clip, contrast=0.4).astype(float)
        factor = np.polyfit(clip.ravel() - light.mean(), changed.ravel() - light.mean(), 1)[0]
        assert 0.6 <= factor <= 1.4
        np.testing.assert_allclose(changed, factor * clip + (1 - factor) * light.mean(), atol=1)


def test_saturation_keeps_grey_and_luminance():
    grey_clip = np.repeat(still()[..., :1], 3, axis=-1)
    np.testing.assert_allclose(colour_jitter(rng(1), grey_clip, saturation=1.0), grey_clip, atol=1)
    clip = (still() // 3 + 80).astype(np.uint8)
    changed = colour_jitter(rng(2), clip, saturation=0.5).astype(float)
    weights = [0.2989, 0.587, 0.114]
    assert np.abs(changed - clip).max() > 3
    np.testing.assert_allclose(changed @ weights, clip.astype(float) @ weights, atol=1)


def test_hue_turns_the_colour_circle_within_its_range():
    clip = np.broadcast_to(np.array([255, 0, 0], np.uint8), (2, 4, 4, 3)).copy()
    turns = [color.rgb2hsv(colour_jitter(rng(seed), clip, hue=0.25)[0, 0, 0])[0] for seed in SEEDS]
    turns = [(turn + 0.5) % 1 - 0.5 for turn in turns]
    assert -0.25 <= min(turns) < -0.22 and 0.22 < max(turns) <= 0.25
    grey_clip = np.full((2, 4, 4, 3), 77, np.uint8)
    assert np.array_equal(colour_jitter(rng(0), grey_clip, hue=0.5), grey_clip)


def test_a_turned_hue_is_that_of_hsv():
    """Against scikit-image's way to HSV and back, with every pixel kind: greys, primaries, ties."""
    levels = np.linspace(0, 1, 5, dtype=np.float32)
    pixels = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 5, 25, 3)
    for turn in (-0.5, -0.1, 0.0, 0.3):
        hsv = color.rgb2hsv(pixels)
        hsv[..., 0] = (hsv[..., 0] + turn) % 1
        np.testing.assert_allclose(_turned(pixels, np.float32(turn)), color.hsv2rgb(hsv), atol=1e-5)


def test_grey_is_the_luminance_in_all_channels():
    clip = still()
    changed = grey(rng(0), clip, 1.0)
    expected = np.rint(clip.astype(float) @ [0.2989, 0.587, 0.114])
    assert (changed == changed[..., :1]).all()
    np.testing.assert_allclose(changed[..., 0], expected, atol=1)
    assert np.array_equal(grey(rng(0), clip, 0.0), clip)


def test_blur_is_gaussian_in_space_alone():
    square = np.zeros((3, 41, 41, 3), np.uint8)
    square[1, 15:26, 15:26] = 255
    changed = blur(rng(0), square, sigma=(2.0, 2.0), probability=1.0).astype(float)
    assert not changed[0].any() and not changed[2].any()  # no time
    profile = changed[1, :, :, 0].sum(0) / changed[1, :, :, 0].sum()
    variance = (profile * (np.arange(41) - 20) ** 2).sum()
    assert variance == pytest.approx(4 + (11**2 - 1) / 12, rel=0.05)  # sigma^2 plus that of the square
    flat = np.full((2, 9, 9, 3), 90, np.uint8)
    assert np.array_equal(blur(rng(0), flat, probability=1.0), flat)


def test_parts_of_a_chain_draw_from_streams_of_their_own():
    """Another first part leaves the draws of the second as they are."""
    crop = partial(resized_crop, size=(12, 12))
    clip = still()
    for seed in range(5):
        one = chain(partial(flip, probability=0.0), crop)(rng(seed), clip)
        other = chain(partial(blur, probability=0.0), crop)(rng(seed), clip)
        assert np.array_equal(one, other)


def test_frames_have_one_stride_and_come_from_everywhere():
    drawn = [random_frames(rng(seed), 40, 8, (1, 3)) for seed in SEEDS]
    strides = [set(np.diff(frames)) for frames in drawn]
    assert all(len(stride) == 1 for stride in strides) and set.union(*strides) == {1, 2, 3}
    assert min(frames[0] for frames in drawn) == 0 and max(frames[-1] for frames in drawn) == 39


def test_a_short_video_takes_the_strides_that_fit():
    assert {int(np.diff(random_frames(rng(seed), 16, 8, (1, 3)))[0]) for seed in SEEDS} == {1, 2}
    assert np.array_equal(random_frames(rng(0), 8, 8, (1, 3)), np.arange(8))
    assert random_frames(rng(0), 1, 1).tolist() == [0]
    with pytest.raises(InputError, match="a video of 7 frames is too short: 8 frames with stride 1 need 8"):
        random_frames(rng(0), 7, 8, (1, 3))


def test_windows_reach_from_the_first_frame_to_the_last():
    windows = uniform_windows(100, 16, 10, stride=2)
    assert windows.shape == (10, 16) and windows[0, 0] == 0 and windows[-1, -1] == 99
    assert set(np.diff(windows, axis=1).ravel()) == {2}
    gaps = np.diff(windows[:, 0])
    assert gaps.max() - gaps.min() <= 1
    assert uniform_windows(21, 5, 1)[0].tolist() == [8, 9, 10, 11, 12]
    with pytest.raises(InputError, match="too short: 16 frames with stride 2 need 31"):
        uniform_windows(30, 16, 10, stride=2)


@pytest.mark.parametrize(
    "change",
    [
        partial(resized_crop, size=(8, 8), scale=(0.5, 1.2)),
        partial(resized_crop, size=(8, 8), ratio=(2.0, 1.0)),
        partial(colour_jitter, hue=0.6),
        partial(colour_jitter, brightness=-0.1),
        partial(blur, sigma=(2.0, 1.0)),
    ],
)
def test_strengths_out_of_their_range_are_refused(change):
    with pytest.raises(InputError):
        change(rng(0), still())
