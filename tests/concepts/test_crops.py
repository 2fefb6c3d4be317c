"""Random crops tile the clip, look at nothing, and are the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.concepts.tubelets.crops import random_crops

SIZE = (16, 56, 56)


@pytest.mark.parametrize("count", [1, 2, 12, 40])
def test_crops_are_boxes_that_tile_the_clip(count):
    labels = random_crops(SIZE, count, ("seed", count))
    assert labels.shape == SIZE and labels.dtype == np.int32
    assert np.unique(labels).tolist() == list(range(count))
    for label in range(count):
        places = np.argwhere(labels == label)
        lengths = np.ptp(places, axis=0) + 1
        assert len(places) == lengths.prod()  # a box is full
    first = np.unique(labels.ravel(), return_index=True)[1]
    assert (np.diff(first) > 0).all()  # numbered as they are met


def test_every_head_draws_its_own_and_always_the_same():
    draws = [random_crops(SIZE, 12, (0, "clip", "block_0/attn/key", head)) for head in (0, 1, 0)]
    np.testing.assert_array_equal(draws[0], draws[2])
    assert (draws[0] != draws[1]).any()


def test_sizes_differ_but_not_wildly():
    """The largest of twelve is a few times the smallest, as the module says."""
    ratios = []
    for seed in range(60):
        sizes = np.bincount(random_crops(SIZE, 12, (seed,)).ravel())
        ratios.append(sizes.max() / sizes.min())
    assert 2 < np.median(ratios) < 5, np.median(ratios)


def test_a_volume_with_fewer_voxels_gives_fewer_crops():
    assert random_crops((1, 2, 2), 9, (0,)).max() == 3
