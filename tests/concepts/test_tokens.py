"""Concepts of tokens: every token has the concept of the nearest mean, on the clips of discovery and on new ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from vtcd_jax.concepts import (
    ElbowRule,
    NmfConfig,
    SlicConfig,
    assign,
    discover,
    load_concepts,
    random_groups,
    save_concepts,
    stability,
)
from vtcd_jax.concepts.proposals import features
from vtcd_jax.data.clips import Clips
from vtcd_jax.importance import Support
from vtcd_jax.models import InputError
from vtcd_jax.runs import MemoryStore, Work

pytestmark = pytest.mark.compile

SIZES: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_frames": 8, "width": 24, "depth": 2, "num_heads": 2}
NMF = NmfConfig(elbow=ElbowRule("fixed", number=3), max_steps=60, restarts=2, refits=0, assign="tokens")
SLIC = SlicConfig(resolution="token", n_segments=6, proposals="slic")


def make_clips(count, seed=0):
    rng = np.random.default_rng(seed)
    video = np.stack([gaussian_filter(rng.normal(size=(8, 32, 32, 3)), (1, 4, 4, 0)) for _ in range(count)])
    video = (video - video.min()) / (video.max() - video.min()) * 255
    return Clips.make(video.astype(np.uint8), [f"clip_{seed}_{i}" for i in range(count)])


@pytest.fixture(scope="module")
def concepts(model, clips):
    return discover(model, clips, slic=SLIC, nmf=NMF, key=0)


@pytest.fixture(scope="module")
def of_tubelets(model, clips):
    return discover(model, clips, slic=SLIC, nmf=replace(NMF, assign="tubelets"), key=0)


def nearest_means(model, clips, concepts, site):
    """int [video, time, height, width, head]: the concept of the nearest mean, by brute force in float64."""
    s = concepts.sites.index(site)
    found = []
    for video in range(len(clips)):
        x = features(model, clips, video, (site,))[site].astype(np.float64)
        squares = ((x[..., None, :] - concepts.centres[:, : x.shape[-1]].astype(np.float64)) ** 2).sum(-1)
        foreign = (concepts.site != s) | (concepts.head != np.arange(x.shape[3])[:, None])  # [head, concept]
        found.append(np.where(foreign, np.inf, squares).argmin(-1))
    return np.stack(found)


def test_every_token_has_the_concept_of_the_nearest_mean_on_old_and_new_clips(model, clips, concepts):
    others = make_clips(3, seed=1)
    for own, found in ((clips, concepts), (others, assign(model, others, concepts))):
        for site in concepts.sites:
            np.testing.assert_array_equal(found.ids[site][..., 0], nearest_means(model, own, concepts, site))


def test_the_means_are_those_of_the_tubelets_that_formed_the_concepts(concepts, of_tubelets):
    assert concepts.names == of_tubelets.names
    for concept, centre in enumerate(concepts.centres):
        own = of_tubelets.tubelets.feature[of_tubelets.assignment == concept]
        np.testing.assert_allclose(centre, own.astype(np.float64).mean(0), rtol=1e-6, atol=1e-7)


def test_support_size_and_presence_are_those_of_the_tokens(concepts):
    present = concepts.present()
    np.testing.assert_array_equal(present, Support.of(concepts).present())
    size = concepts.size()
    for concept in range(len(concepts)):
        site, head = concepts.sites[concepts.site[concept]], concepts.head[concept]
        tokens = concepts.ids[site][..., head, 0] == concept
        np.testing.assert_array_equal(concepts.support(concept), tokens)
        assert size[concept] == tokens.sum()
    everywhere = sum(ids.size for ids in concepts.ids.values())
    assert size.sum() == everywhere


def test_a_region_is_the_mean_of_its_tokens_and_its_weight_says_how_clear_they_are(model, clips, concepts):
    t, site = concepts.tubelets, concepts.sites[1]
    x = features(model, clips, 2, (site,))[site].astype(np.float64)
    for row in np.flatnonzero((t.site == 1) & (t.video == 2)):
        concept, head = concepts.assignment[row], t.head[row]
        tokens = x[..., head, :][concepts.ids[site][2, ..., head, 0] == concept]
        np.testing.assert_allclose(t.feature[row], tokens.mean(0), rtol=1e-4, atol=1e-5)
        own = np.flatnonzero((concepts.site == 1) & (concepts.head == head))
        squares = np.sort(((tokens[:, None] - concepts.centres[own]) ** 2).sum(-1), axis=1)
        np.testing.assert_allclose(concepts.weights[row], (1 - squares[:, 0] / squares[:, 1]).mean(), atol=1e-4)
        np.testing.assert_allclose(concepts.memberships[row].sum(), concepts.weights[row])
    np.testing.assert_array_equal(t.label, concepts.number[concepts.assignment] - 1)


def test_new_clips_need_no_segmentation_and_do_not_depend_on_each_other(model, concepts, monkeypatch):
    others = make_clips(3, seed=2)
    monkeypatch.setattr("vtcd_jax.concepts.proposals.propose", lambda *_: pytest.fail("segmented"))
    together = assign(model, others, concepts)
    for i in range(3):
        alone = assign(model, others[[i]], concepts)
        for site in concepts.sites:
            np.testing.assert_array_equal(alone.ids[site][0], together.ids[site][i])
    assert together.settings["assigned"] == "nearest mean"
    assert np.isnan(together.silhouette).all() and (together.error >= 0).all() and (together.error < 1.5).all()


def test_files_give_back_equal_concepts_of_tokens(concepts, tmp_path):
    save_concepts(concepts, tmp_path)
    back = load_concepts(tmp_path)
    np.testing.assert_array_equal(back.centres, concepts.centres)
    np.testing.assert_array_equal(back.origin.feature, concepts.origin.feature)
    for site in concepts.sites:
        np.testing.assert_array_equal(back.ids[site], concepts.ids[site])
    np.testing.assert_array_equal(back.support(1), concepts.support(1))


def test_random_groups_keep_the_number_of_regions(concepts):
    groups = random_groups(concepts, 3)
    np.testing.assert_array_equal(groups.count(), concepts.count())
    for site in concepts.sites:
        np.testing.assert_array_equal(groups.ids[site] >= 0, concepts.ids[site] >= 0)


def test_finished_clips_are_not_computed_again(model, clips, concepts, monkeypatch):
    store = MemoryStore()
    first = assign(model, clips, concepts, work=Work(store=store))
    monkeypatch.setattr("vtcd_jax.concepts.tokens.features", lambda *_: pytest.fail("computed again"))
    second = assign(model, clips, concepts, work=Work(store=store))
    for site in concepts.sites:
        np.testing.assert_array_equal(first.ids[site], second.ids[site])
    np.testing.assert_array_equal(first.weights, second.weights)


def test_their_stability_cannot_be_asked_for_afterwards(concepts):
    with pytest.raises(InputError, match="discover"):
        stability(concepts, NMF, jax.random.key(0))
