"""Planted clips show what their labels and masks say, and nothing else that tells the class."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.models import InputError
from vtcd_jax.planted.network.scene import GREY, LABELS


def test_a_seed_gives_the_same_clips_again_however_many(clips):
    assert planted.clips(3, seed=3).hashes == clips.hashes[:3]
    assert not set(planted.clips(8, seed=4).hashes) & set(clips.hashes)
    with pytest.raises(InputError, match="at least one"):
        planted.clips(0, seed=0)


def test_classes_come_in_turn_and_masks_do_not_touch(clips):
    assert [LABELS[label] for label in clips.labels] == list(LABELS) * 2
    moving, staying = clips.masks["object"], clips.masks["distractor"]
    assert not (moving & staying).any()
    assert (moving.sum((2, 3)) == 24 * 24).all() and (staying.sum((2, 3)) == 20 * 20).all()
    assert (staying == staying[:, :1]).all()


def test_the_object_has_the_colour_and_the_way_of_its_label(clips):
    for pixels, mask, label in zip(clips.video, clips.masks["object"], clips.labels, strict=True):
        colour, _, way = LABELS[label].split(" ")
        red, green, blue = pixels[mask].mean(0)
        assert (max(red, blue) == (red if colour == "red" else blue)) and green < 128
        x = [np.argwhere(frame)[:, 1].mean() for frame in mask]
        assert (np.diff(x) == (2 if way == "right" else -2)).all()


def test_brightness_tells_nothing_of_objects(clips):
    brightness = clips.video.astype(float).mean(-1)
    for mask in clips.masks.values():
        assert brightness[mask].mean() == pytest.approx(GREY, abs=3)
    background = clips.video[~(clips.masks["object"] | clips.masks["distractor"])].astype(int)
    assert abs(np.diff(background, axis=-1)).mean() < 4  # grey, but for noise
