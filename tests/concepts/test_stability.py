"""Stability tells groups that any start finds from groups that only one start made."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.concepts.test_discovery import NMF, SIZES, make_clips
from vtcd_jax import models
from vtcd_jax.concepts import NmfConfig, discover, stability
from vtcd_jax.concepts.evaluation.stability import matched
from vtcd_jax.concepts.settings import ElbowRule
from vtcd_jax.concepts.types import Concepts, Tubelets
from vtcd_jax.models.families.videomae import VideoMAEConfig

pytestmark = pytest.mark.compile

FIXED = NmfConfig(elbow=ElbowRule("fixed", number=3), max_steps=100, restarts=2, refits=0)


def concepts_of(feature: np.ndarray, labels: np.ndarray, clips: int) -> Concepts:
    """One head of one site with these tubelets, and their concepts."""
    count, groups = len(feature), int(labels.max()) + 1
    zero = np.zeros(count, np.int32)
    video = np.arange(count, dtype=np.int32) % clips
    tubelets = Tubelets(zero, zero, video, np.arange(count, dtype=np.int32) // clips, zero + 1, feature)
    each, empty = np.zeros(groups, np.int32), np.zeros(groups, np.float32)
    return Concepts(
        ("block_0/attn/key",), (1, 1, 1), (1, 1, 1), each, each, np.arange(1, groups + 1, dtype=np.int32),
        np.zeros((groups, feature.shape[1]), np.float32), tubelets, labels, zero.astype(np.float32),
        np.zeros((count, groups), np.float32), {}, {}, empty, empty, empty > 0, video_names=("a",) * clips,
    )  # fmt: skip


def test_planted_groups_are_found_again_and_random_ones_are_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60).astype(np.int32)
    feature = (np.eye(3, 6)[labels] * 10 + rng.normal(size=(60, 6)) * 0.1).astype(np.float32)
    real = stability(concepts_of(feature, labels, 6), FIXED, jax.random.key(0))
    assert (real.seeds == 1).all() and (real.clips == 1).all()
    dealt = stability(concepts_of(feature, rng.permutation(labels), 6), FIXED, jax.random.key(0))
    assert dealt.seeds.max() < 0.5 and dealt.clips.max() < 0.6  # by chance about 1 / 5


def test_random_centres_are_found_again_where_there_is_nothing_to_find_too():
    """Three of them often miss a planted group, and cut noise as alike as any three points do."""
    rng, labels = np.random.default_rng(0), np.arange(300, dtype=np.int32) % 3
    planted = (np.eye(3, 6)[labels] * 10 + rng.normal(size=(300, 6)) * 0.1).astype(np.float32)
    found = stability(concepts_of(planted, labels, 6), FIXED, jax.random.key(0), fits=8)
    assert (found.seeds == 1).all() and (found.centres == found.centres[0]).all() and 0.3 < found.centres[0] < 0.95
    noise = rng.normal(size=(300, 6)).astype(np.float32)
    assert 0.2 < stability(concepts_of(noise, labels, 6), FIXED, jax.random.key(0), fits=8).centres[0] < 0.6


def test_with_few_clips_there_are_no_halves():
    labels = np.arange(30, dtype=np.int32) % 3
    found = stability(concepts_of(np.eye(3, 4, dtype=np.float32)[labels], labels, 3), FIXED, jax.random.key(0), fits=1)
    assert np.isnan(found.clips).all() and (found.seeds == 1).all()


def test_groups_are_matched_whatever_they_are_called():
    first = np.array([0, 0, 1, 1, 2, 2])
    assert_array_equal(matched(first, np.array([2, 2, 0, 0, 1, 1]), 3), 1)
    np.testing.assert_allclose(matched(first, np.array([1, 1, 1, 0, 0, 0]), 3), [2 / 3, 0, 2 / 3])
    np.testing.assert_allclose(matched(first, np.zeros(6, int), 3), [1 / 3, 0, 0])


@pytest.mark.parametrize("refits", [0, 1])
def test_discovery_says_how_stable_its_concepts_are(refits):
    """And finds the same concepts whether it is asked or not."""
    model = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=jax.random.key(0), name="tiny")
    clips, config = make_clips(4), NmfConfig(elbow=NMF.elbow, max_steps=60, restarts=2, refits=refits)
    found = discover(model, clips, nmf=config, key=jax.random.key(1), sites=("block_0/attn/key",))
    if not refits:
        assert found.stability_seeds is None and found.stability_clips is None and found.stability_centres is None
        return
    for values in (found.stability_seeds, found.stability_clips, found.stability_centres):
        assert (
            values is not None
            and values.shape == (len(found),)
            and ((values >= 0) & (values <= 1)).all()
            and values.max() > 0.2
        )
