"""Sites of one run may differ in grid and channels, as in networks that pool between stages or have two pathways."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest
from flax import linen as nn

from vtcd_jax import models
from vtcd_jax.concepts import (
    ElbowRule,
    NmfConfig,
    SlicConfig,
    assign,
    best_overlap,
    discover,
    load_concepts,
    random_groups,
    save_concepts,
)
from vtcd_jax.concepts.tubelets.pooling import resize_labels
from vtcd_jax.data import Clips
from vtcd_jax.importance import cris, occlusion
from vtcd_jax.models import registry
from vtcd_jax.models.layers import Block, PatchEmbed
from vtcd_jax.models.streams import Grid, Stream
from vtcd_jax.models.types import Family, Output, Preprocessing

pytestmark = pytest.mark.compile

SITES = ("block_0/attn/key", "block_1/attn/key", "pathway/out")
GRIDS = dict(zip(SITES, ((4, 4, 4), (2, 2, 2), (4, 2, 2)), strict=True))
CHANNELS = dict(zip(SITES, (4, 6, 6), strict=True))
HEADS = (2, 3, 1)
NMF = NmfConfig(elbow=ElbowRule("fixed", number=3), max_steps=40, restarts=2, refits=1, assign="tubelets")


@dataclass(frozen=True)
class PyramidConfig:
    family: str = "pyramid"
    grid: tuple[int, int, int] = (4, 4, 4)
    num_classes: int = 3
    wide: int = 18


class Pyramid(nn.Module):
    """A block, pooling to a wider block of more heads, and a convolution beside them."""

    config: PyramidConfig

    @nn.compact
    def __call__(self, inputs, tap):
        x = PatchEmbed(8, 1, 4, name="patch_embed")(inputs.video)
        beside = nn.relu(nn.Conv(6, (1, 2, 2), (1, 2, 2), name="pathway")(x))
        beside = tap("pathway/out", beside)
        fine = Stream(x.reshape(len(x), 1, -1, 8), Grid(4, 4, 4))
        fine = Block(2, 2.0, 1e-6, name="block_0")(fine, tap.scope("block_0"))
        pooled = nn.avg_pool(fine.positions[0], (2, 2, 2), (2, 2, 2))[None]
        wide = nn.Dense(self.config.wide, name="widen")(pooled).reshape(1, 1, -1, self.config.wide)
        coarse = Block(3, 2.0, 1e-6, name="block_1")(Stream(wide, Grid(2, 2, 2)), tap.scope("block_1"))
        features = jax.numpy.concatenate([coarse.x.mean((1, 2)), beside.mean((1, 2, 3))], -1)
        return Output(logits=nn.Dense(self.config.num_classes, name="head")(features))


def pyramid(config: PyramidConfig = PyramidConfig()) -> models.Model:
    return models.build(config, key=0, name="pyramid")


@pytest.fixture(scope="module")
def model():
    family = Family(PyramidConfig, Pyramid, lambda config: Preprocessing(4, 16, 16), "Pyramid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "all_families", lambda: {"pyramid": family})
        yield pyramid()


def make_clips(count: int, seed: int = 0) -> Clips:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 4, 16, 16, 3), dtype=np.uint8)
    return Clips.make(pixels, [f"clip {seed} {i}" for i in range(count)], masks={"bright": pixels[..., 0] > 128})


@pytest.fixture(scope="module")
def clips():
    return make_clips(4)


@pytest.fixture(scope="module")
def found(model, clips):
    return discover(model, clips, sites=SITES, nmf=NMF, key=1)


def test_every_site_keeps_its_grid_its_heads_and_its_channels(found):
    assert dict(found.grid) == GRIDS and set(found.slic_grid.values()) == {(4, 8, 8)}
    for s, (site, heads) in enumerate(zip(SITES, HEADS, strict=True)):
        assert found.ids[site].shape == (4, *GRIDS[site], heads, 1) and found.width(s) == CHANNELS[site]
        for values, rows in ((found.dictionary, found.site == s), (found.tubelets.feature, found.tubelets.site == s)):
            assert values[rows][:, : CHANNELS[site]].any(0).all() and not values[rows][:, CHANNELS[site] :].any()
    for concept in range(len(found)):
        site, head = SITES[found.site[concept]], found.head[concept]
        small = [resize_labels(support, GRIDS[site]) for support in found.support(concept)]
        np.testing.assert_array_equal(found.ids[site][..., head, 0] == concept, small)


@pytest.mark.parametrize("s", [0, 2])
def test_the_concepts_of_a_site_do_not_depend_on_what_other_sites_look_like(model, clips, s):
    """Crops give every head equally many tubelets, so that the draws of k-means are the same too."""
    asked = {"slic": SlicConfig(proposals="crops"), "nmf": replace(NMF, refits=0), "key": 1}
    both, alone = (discover(model, clips[:2], sites=sites, **asked) for sites in (SITES, SITES[s]))
    rows, own, channels = both.tubelets.site == s, both.site == s, CHANNELS[SITES[s]]
    np.testing.assert_array_equal(alone.tubelets.feature, both.tubelets.feature[rows][:, :channels])
    np.testing.assert_array_equal(alone.dictionary, both.dictionary[own][:, :channels])
    np.testing.assert_array_equal(alone.assignment, both.assignment[rows] - np.flatnonzero(own)[0])


def test_segmenting_tokens_gives_each_site_volumes_of_its_own_size(model, clips):
    found = discover(model, clips[:2], sites=SITES, slic=SlicConfig(resolution="token"), nmf=replace(NMF, refits=0))
    assert dict(found.slic_grid) == GRIDS
    assert [found.labels.volume(site, 1, 0).shape for site in SITES] == list(GRIDS.values())


def test_new_clips_get_the_concepts_of_every_site(model, clips, found):
    other = assign(model, clips[[1, 0]], found)
    for site in SITES:
        np.testing.assert_array_equal(other.ids[site].shape[1:], found.ids[site].shape[1:])
    assert (other.site[other.assignment] == other.tubelets.site).all() and dict(other.channels) == dict(found.channels)
    best = best_overlap(found, clips.masks["bright"], other, clips.masks["bright"][[1, 0]])
    assert 0 < best.held_out < 1


def test_a_network_with_other_channels_is_refused(model, clips, found):
    wider = pyramid(PyramidConfig(wide=24))
    with pytest.raises(models.InputError, match="block_1/attn/key: channels of the model are 8, of the concepts 6"):
        assign(wider, clips, found)


def test_all_concepts_are_ranked_together(model, clips, found):
    ranked = cris(model, clips, found, masks=16, key=2)
    assert len(ranked.importance) == len(found) and np.isfinite(ranked.importance).all()
    assert all(ranked.importance[found.site == s].any() for s in range(3))  # each site has a say in the score
    for soft in (False, True):
        assert np.isfinite(occlusion(model, clips, found, soft=soft).importance).all()


def test_random_groups_stay_in_the_heads_of_their_site(found):
    groups = random_groups(found, 3)
    np.testing.assert_array_equal(groups.site[groups.assignment], found.tubelets.site)
    np.testing.assert_array_equal(groups.head[groups.assignment], found.tubelets.head)


def test_they_survive_the_disk(model, clips, found, tmp_path):
    save_concepts(found, tmp_path / "one")
    loaded = load_concepts(tmp_path / "one")
    assert (dict(loaded.grid), dict(loaded.slic_grid)) == (dict(found.grid), dict(found.slic_grid))
    assert dict(loaded.channels) == dict(found.channels) == {SITES[0]: 4}
    save_concepts(loaded, tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    np.testing.assert_array_equal(assign(model, clips, loaded).assignment, assign(model, clips, found).assignment)
