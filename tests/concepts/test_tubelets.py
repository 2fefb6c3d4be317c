"""Upsampling, segmentation, pooling and token masks agree with the reference pipeline."""

from __future__ import annotations

import numpy as np
import pytest
from jax import numpy as jnp

from vtcd_jax.concepts import slic
from vtcd_jax.concepts.tubelets.pooling import cell_counts, pool, resize_labels, sizes_at
from vtcd_jax.concepts.tubelets.resampling import linear_matrix, slic_size, upsample
from vtcd_jax.models import InputError, Preprocessing

CASES = {  # prefix -> file, clips, heads, size before SLIC, interpolation, compactness
    "vmae": ("tubelets.npz", 4, 2, (16, 112, 112), "linear", 0.1),
    "full": ("tubelets.npz", 1, 1, (22, 112, 112), "nearest", 0.1),
    "tcow": ("tubelets_tcow.npz", 1, 1, (30, 120, 160), "linear", 0.01),
}


def volume_of(reference, prefix, video, head, size, mode):
    """[time, height, width, channel] of the stored (channel, head, time, height, width)."""
    return upsample(np.moveaxis(reference[f"{prefix}_features_v{video}"][:, head], 0, -1), size, mode)


@pytest.mark.parametrize("prefix", CASES)
def test_a_clip_becomes_the_reference_tubelets(golden, prefix):
    file, videos, heads, size, mode, compactness = CASES[prefix]
    reference = np.load(golden / "vtcd" / file)
    for head in range(heads):
        pooled, features, numbers, owners, sizes = [], [], [], [], []
        for video in range(videos):
            volume = volume_of(reference, prefix, video, head, size, mode)
            stored = reference[f"{prefix}_labels_v{video}_h{head}"].astype(np.int32)
            labels = slic(volume, n_segments=12, compactness=compactness)
            assert (labels == stored).mean() >= 0.999
            label, _, exact = pool(volume, stored)
            pooled.append(exact)
            features.append(pool(volume, labels)[2])
            numbers.append(label + 1)
            owners.append(np.full(len(label), video))
            sizes.append(sizes_at(stored, tuple(reference[f"{prefix}_fullres_shape"].tolist())))
        expected = reference[f"{prefix}_pooled_h{head}"]
        np.testing.assert_allclose(np.concatenate(pooled), expected, rtol=1e-4, atol=5e-4)
        np.testing.assert_allclose(np.concatenate(features), expected, atol=2e-3)
        np.testing.assert_array_equal(np.concatenate(numbers), reference[f"{prefix}_tubelet_number_h{head}"])
        np.testing.assert_array_equal(np.concatenate(owners), reference[f"{prefix}_video_of_tubelet_h{head}"])
        np.testing.assert_array_equal(np.concatenate(sizes), reference[f"{prefix}_mask_voxels_fullres_h{head}"])


def test_interpolation_agrees_with_the_reference_probe(golden):
    reference = np.load(golden / "vtcd" / "tubelets.npz")
    volume = np.asarray(volume_of(reference, "vmae", 0, 0, (16, 112, 112), "linear"))
    probe = np.moveaxis(volume, -1, 0)[:, ::5, ::37, ::37]
    np.testing.assert_allclose(probe, reference["vmae_upsampled_probe"], atol=1e-5)


def test_linear_interpolation_keeps_ends_and_straight_lines():
    ramp = np.broadcast_to(np.linspace(-1, 2, 5, dtype=np.float32)[:, None, None, None], (5, 3, 4, 2))
    grown = np.asarray(upsample(ramp, (13, 3, 4)))
    np.testing.assert_allclose(grown[:, 0, 0, 0], np.linspace(-1, 2, 13), atol=1e-6)
    np.testing.assert_allclose(linear_matrix(7, 3).sum(1), 1)
    np.testing.assert_array_equal(upsample(ramp, (5, 3, 4)), ramp)


def test_nearest_upsampling_repeats_voxels():
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    np.testing.assert_array_equal(upsample(volume, (4, 6, 8), "nearest"), volume.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    with pytest.raises(InputError, match="linear or nearest"):
        upsample(volume, (4, 6, 8), "cubic")


def test_the_paper_segments_all_frames_at_half_size():
    assert slic_size(Preprocessing(16, 224, 224)) == (16, 112, 112)
    assert slic_size(Preprocessing(30, 240, 320)) == (30, 120, 160)


def test_pooling_is_the_mean_inside_and_the_released_option_the_sum_over_the_volume():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(3, 4, 5, 6)).astype(np.float32)
    labels = rng.integers(0, 4, (3, 4, 5)).astype(np.int32)
    label, size, mean = pool(volume, labels)
    _, _, scaled = pool(jnp.asarray(volume), labels, pooling="released-volume")
    for row in range(4):
        inside = labels == label[row]
        assert size[row] == inside.sum()
        np.testing.assert_allclose(mean[row], volume[inside].mean(0), atol=1e-6)
        np.testing.assert_allclose(scaled[row], volume[inside].sum(0) / labels.size, atol=1e-6)


def test_tiny_tubelets_are_dropped_and_absent_labels_skipped():
    labels = np.zeros((4, 16, 32), np.int32)  # 2048 voxels: 0.1 % is just above two of them
    labels[0, 0, :2], labels[1, 0, :3] = 2, 3
    label, size, _ = pool(np.ones((4, 16, 32, 1), np.float32), labels)
    assert label.tolist() == [0, 3] and size.tolist() == [2043, 3]


def test_tokens_take_the_first_voxel_or_the_majority():
    labels = np.ones((2, 4, 4), np.int32)
    labels[:, ::2, ::2] = 0  # the first voxel of each 2 x 2 cell
    assert (resize_labels(labels, (1, 2, 2)) == 0).all()
    assert (resize_labels(labels, (1, 2, 2), "majority") == 1).all()
    np.testing.assert_array_equal(resize_labels(labels, (4, 8, 8)), labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))
    with pytest.raises(InputError, match="no finer"):
        resize_labels(labels, (4, 8, 8), "majority")
    with pytest.raises(InputError, match="nearest or majority"):
        resize_labels(labels, (1, 2, 2), "any")


@pytest.mark.parametrize("fine, coarse", [((8, 6, 9), (4, 3, 3)), ((5, 7, 6), (3, 2, 4)), ((3, 4, 2), (3, 8, 5))])
def test_counting_cells_equals_resizing_labels(fine, coarse):
    rng = np.random.default_rng(1)
    mask, labels = rng.random(fine) < 0.4, rng.integers(0, 5, coarse)
    resized = resize_labels(labels, fine)
    counts = np.bincount(labels.ravel(), weights=cell_counts(mask, coarse).ravel(), minlength=5)
    np.testing.assert_array_equal(counts, [(mask & (resized == label)).sum() for label in range(5)])
