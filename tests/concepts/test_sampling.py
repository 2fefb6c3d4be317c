"""Tokens in the place of tubelets: what is drawn are tokens of the clips, and concepts are found in them alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig, assign, discover, load_concepts, save_concepts
from vtcd_jax.concepts.proposals import features
from vtcd_jax.concepts.sampling import sampled_tokens
from vtcd_jax.models import InputError
from vtcd_jax.runs import MemoryStore, Work

pytestmark = pytest.mark.compile

SITES = ("block_0/attn/key", "block_1/attn/key")
SLIC = SlicConfig(proposals="tokens", samples=100)
NMF = NmfConfig(elbow=ElbowRule("fixed", number=3), max_steps=60, restarts=2, refits=1, tree=0.5)


@pytest.fixture(scope="module")
def concepts(model, clips):
    return discover(model, clips, slic=SLIC, nmf=NMF, key=0)


def test_a_quarter_of_the_sample_comes_from_each_of_four_clips(model, clips):
    drawn = sampled_tokens(model, clips, SITES, SLIC)
    assert len(drawn) == 2 * 2 * 100 and (drawn.size == 1).all()
    for video in range(4):
        whole = features(model, clips, video, SITES)
        for s, site in enumerate(SITES):
            tokens = whole[site].reshape(-1, 2, whole[site].shape[-1])
            own = [np.flatnonzero((drawn.video == video) & (drawn.site == s) & (drawn.head == h)) for h in (0, 1)]
            places = [drawn.label[rows] for rows in own]
            assert len(np.unique(places[0])) == 25 and np.array_equal(*places)  # the same in both heads
            for head, rows in enumerate(own):
                np.testing.assert_array_equal(drawn.feature[rows], tokens[drawn.label[rows], head])


def test_a_clip_gives_the_same_tokens_in_any_order_and_another_seed_gives_others(model, clips):
    first, turned = (sampled_tokens(model, c, SITES[:1], SLIC) for c in (clips, clips[[3, 2, 1, 0]]))
    for video in range(4):
        one, other = first.video == video, turned.video == 3 - video
        np.testing.assert_array_equal(first.label[one], turned.label[other])
        np.testing.assert_array_equal(first.feature[one], turned.feature[other])
    again = sampled_tokens(model, clips, SITES[:1], replace(SLIC, proposal_seed=1))
    assert (again.label != first.label).any()
    few = sampled_tokens(model, clips, SITES[:1], replace(SLIC, samples=2))
    assert len(few) == 2 * 4  # one of each clip at least
    every = sampled_tokens(model, clips, SITES[:1], replace(SLIC, samples=10_000))
    assert len(every) == 2 * 4 * 64


def test_all_tokens_get_concepts_and_nothing_is_segmented(model, clips, concepts):
    assert concepts.centres is not None and concepts.parent is not None and concepts.slic_grid == concepts.grid
    for site in concepts.sites:
        assert concepts.ids[site].shape == (4, *concepts.grid[site], 2, 1) and concepts.ids[site].min() >= 0
    for values in (concepts.stability_seeds, concepts.stability_clips, concepts.stability_centres):
        assert values is not None and np.isfinite(values[: concepts.leaves]).all()
    known = assign(model, clips[[2]], concepts)
    for site in concepts.sites:
        np.testing.assert_array_equal(known.ids[site][0], concepts.ids[site][2])


def test_centres_are_means_of_the_drawn_tokens_nearest_to_them_in_the_factorisation(concepts):
    assert concepts.origin is not None and len(concepts.origin) == 2 * 2 * 100
    for leaf in range(concepts.leaves):
        own = (concepts.origin.site == concepts.site[leaf]) & (concepts.origin.head == concepts.head[leaf])
        inside = concepts.origin.feature[own]
        assert (inside.min(0) <= concepts.centres[leaf]).all() and (concepts.centres[leaf] <= inside.max(0)).all()


def test_they_are_saved_and_an_interrupted_discovery_goes_on(model, clips, concepts, tmp_path):
    save_concepts(concepts, tmp_path)
    again = load_concepts(tmp_path)
    np.testing.assert_array_equal(again.origin.feature, concepts.origin.feature)
    np.testing.assert_array_equal(again.ids[SITES[0]], concepts.ids[SITES[0]])
    store, asked = MemoryStore(), []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    with pytest.raises(KeyboardInterrupt):
        discover(model, clips, slic=SLIC, nmf=NMF, key=0, work=Work(store, stop=stop))
    drawn = [name for name in store.blocks if name.startswith("segment/")]
    assert 0 < len(drawn) < 8
    found = discover(model, clips, slic=SLIC, nmf=NMF, key=0, work=Work(store))
    np.testing.assert_array_equal(found.dictionary, concepts.dictionary)
    np.testing.assert_array_equal(found.ids[SITES[1]], concepts.ids[SITES[1]])


def test_what_does_not_fit_is_refused(model, clips):
    with pytest.raises(InputError, match='needs nmf.assign "tokens"'):
        discover(model, clips, slic=SLIC, nmf=replace(NMF, assign="tubelets"))
    with pytest.raises(InputError, match="samples must be at least 2"):
        SlicConfig(samples=1)
    broken = replace(model, params=jax.tree.map(lambda a: a * np.nan, model.params))
    with pytest.raises(InputError, match="clip_0_0, site block_0/attn/key: features are not finite"):
        discover(broken, clips, slic=SLIC, nmf=NMF)
