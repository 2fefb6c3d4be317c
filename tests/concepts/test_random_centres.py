"""The control that can fail: random tubelets as centres, carried over to other clips as concepts are."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from vtcd_jax.concepts import (
    NmfConfig,
    SlicConfig,
    assign,
    best_overlap,
    best_overlaps,
    discover,
    nearest_centres,
    random_centres,
)
from vtcd_jax.concepts.proposals import features
from vtcd_jax.data.clips import Clips
from vtcd_jax.importance import cris
from vtcd_jax.importance.controls import Sample, controls
from vtcd_jax.importance.curves import removal_curves
from vtcd_jax.scores import find_targets

from .test_tokens import NMF, SLIC, make_clips

pytestmark = pytest.mark.compile
GROUPED = ("tubelets", "tokens")


def with_masks(clips: Clips, seed: int) -> Clips:
    draw = np.random.default_rng(seed)
    return replace(clips, masks={"target": draw.random((len(clips), 8, 32, 32)) < 0.3})


@pytest.fixture(scope="module", params=GROUPED)
def found(request, model):  # noqa: F811
    first, other = with_masks(make_clips(4), 0), with_masks(make_clips(3, seed=1), 1)
    nmf: NmfConfig = replace(NMF, assign=request.param)
    slic: SlicConfig = SLIC
    concepts = discover(model, first, slic=slic, nmf=nmf, key=0)
    return first, concepts, other, assign(model, other, concepts)


def test_centres_are_different_tubelets_of_the_concepts_head(found):
    concepts = found[1]
    centres = random_centres(concepts, 5).centres
    source = concepts.tubelets if concepts.origin is None else concepts.origin
    for c, centre in enumerate(centres):
        own = (source.site == concepts.site[c]) & (source.head == concepts.head[c])
        assert (source.feature[own] == centre).all(1).any()
    assert len(np.unique(centres, axis=0)) == len(concepts)
    assert not np.array_equal(centres, random_centres(concepts, 6).centres)
    np.testing.assert_array_equal(centres, random_centres(concepts, 5).centres)


def test_everything_belongs_to_the_nearest_centre_on_old_and_new_clips(model, found):  # noqa: F811
    first, concepts, other, assigned = found
    centres = random_centres(concepts, 5)
    for clips, own in ((first, concepts), (other, assigned)):
        (dealt,) = nearest_centres(model, clips, own, [centres])
        assert dealt.names == concepts.names and dealt.video_hashes == clips.hashes
        for s, site in enumerate(concepts.sites):
            for h in range(2):
                numbers = np.flatnonzero((concepts.site == s) & (concepts.head == h))
                if concepts.centres is None:
                    rows = np.flatnonzero((own.tubelets.site == s) & (own.tubelets.head == h))
                    x, given = own.tubelets.feature[rows], dealt.assignment[rows]
                else:
                    x = np.stack([features(model, clips, v, (site,))[site][..., h, :] for v in range(len(clips))])
                    given = dealt.ids[site][..., h, 0]
                apart = ((x[..., None, :].astype(np.float64) - centres.centres[numbers]) ** 2).sum(-1)
                np.testing.assert_array_equal(numbers[apart.argmin(-1)], given)


def test_the_overlap_of_random_centres_is_chosen_and_judged_as_that_of_concepts(model, found):  # noqa: F811
    first, concepts, other, assigned = found
    (row,) = best_overlaps(model, concepts, first, assigned, other, draws=3, key=2)
    masks = [clips.masks["target"] for clips in (first, other)]
    best = best_overlap(concepts, masks[0], assigned, masks[1])
    assert (row.concept, row.miou) == (best.concept, best.held_out)
    for draw in range(3):
        centres = random_centres(concepts, jax.random.fold_in(jax.random.key(2), draw))
        pair = [nearest_centres(model, *each, [centres])[0] for each in ((first, concepts), (other, assigned))]
        kept = best_overlap(pair[0], masks[0], pair[1], masks[1]).held_out
        np.testing.assert_allclose(row.centres[draw], kept, rtol=1e-12)


def test_concepts_that_are_random_centres_are_not_told_from_the_control(model, found):  # noqa: F811
    """Both controls are on the ranked clips what they are there: a random dictionary has no advantage over another."""
    first, concepts, *_ = found
    targets = find_targets(model, first)
    gains = []
    for seed in range(4):
        (random,) = nearest_centres(model, first, concepts, [random_centres(concepts, seed)])
        importance = cris(model, first, random, score="logit", masks=32, key=seed)
        curves = removal_curves(
            model, first, random, importance.order(), score="logit", targets=targets, steps=6, repeats=1, key=0
        )[0]
        sample = Sample(first, concepts, targets)
        centres, groups = controls(
            model, sample, sample, curves, importance.baseline, design="folded-hadamard", masks=32, key=100 + seed
        )
        assert centres.kind == "random centres" and groups.kind == "random groups"
        gains.append(centres.advantage / abs(curves.scores[0, :, 0].mean() - curves.scores[0, :, -1].mean()))
    assert abs(np.mean(gains)) < 0.25


def test_a_hierarchy_is_compared_with_as_many_nodes_over_random_centres(model, found):  # noqa: F811
    first, concepts, other, _ = found
    nmf = replace(NMF, assign="tubelets" if concepts.centres is None else "tokens", tree=0.5)
    nmf = replace(nmf, elbow=replace(nmf.elbow, number=5))
    tree = discover(model, first, slic=SLIC, nmf=nmf, key=0)
    random = random_centres(tree, 1)
    (dealt,) = nearest_centres(model, first, tree, [random])
    assert dealt.leaves == tree.leaves and len(dealt) == len(tree) > tree.leaves
    assert not np.array_equal(dealt.members, tree.members)
    for head in range(2):
        own = (tree.site == 0) & (tree.head == head)
        assert dealt.members[own].any(1).all() and not dealt.members[own][:, ~own[: tree.leaves]].any()
    (row,) = best_overlaps(model, tree, first, assign(model, other, tree), other, draws=2, key=2)
    assert np.isfinite(row.centres).all() and np.isfinite(row.groups).all()
