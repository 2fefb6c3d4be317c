"""SLIC gives the reference's labels, and refuses what it cannot segment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vtcd_jax.concepts import slic
from vtcd_jax.models import InputError


@pytest.mark.parametrize("case", "abcd")
def test_labels_are_those_of_the_reference(golden, case):
    reference = np.load(golden / "vtcd" / "slic.npz")
    for i, compactness in enumerate(reference[f"{case}_compactness"]):
        labels = slic(
            reference[f"{case}_volume"],
            n_segments=int(reference[f"{case}_n_segments"]),
            compactness=float(compactness),
        )
        np.testing.assert_array_equal(labels, reference[f"{case}_labels_{i}"], err_msg=str(compactness))


def test_features_may_be_scaled_and_shifted_without_changing_labels(golden):
    volume = np.load(golden / "vtcd" / "slic.npz")["b_volume"]
    np.testing.assert_array_equal(slic(volume), slic(volume * np.float32(4) + np.float32(16)))


def test_segments_keep_to_the_size_limits(golden):
    volume = np.load(golden / "vtcd" / "slic.npz")["a_volume"]
    seeds = len(np.load(golden / "vtcd" / "slic.npz")["a_seeds"])
    sizes = np.bincount(slic(volume, compactness=0.1).ravel())
    assert sizes.min() >= int(0.5 * volume[..., 0].size / seeds)


def test_threads_give_the_same_labels(golden):
    reference = np.load(golden / "vtcd" / "slic.npz")
    volumes = [reference[f"{case}_volume"] for case in "abcd"] * 3
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(slic, volumes))
    for volume, labels in zip(volumes, together, strict=True):
        np.testing.assert_array_equal(labels, slic(volume))


def test_a_constant_volume_is_cut_into_grid_cells():
    labels = slic(np.full((4, 12, 12, 3), 7.0, np.float32), n_segments=12)
    sizes = np.bincount(labels.ravel())
    assert len(sizes) > 1 and sizes.max() < 4 * sizes.min()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    volume = np.zeros((2, 4, 4, 3), np.float32)
    volume[1, 2, 3, 0] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        slic(volume)


def test_a_transposed_call_is_refused_by_its_shape():
    with pytest.raises(Exception, match="volume"):
        slic(np.zeros((4, 4, 4), np.float32))
