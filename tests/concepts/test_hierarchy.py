"""Hierarchies: Ward's tree over the concepts of a head, whose persistent nodes are concepts, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

from vtcd_jax.ablation import Support
from vtcd_jax.concepts import assign, discover, load_concepts, overlap, save_concepts
from vtcd_jax.concepts.hierarchy import kept_nodes, ward
from vtcd_jax.models import InputError

from .test_tokens import NMF, SLIC, make_clips

FOUR = replace(NMF, elbow=replace(NMF.elbow, number=5), tree=0.5)


def test_the_tree_is_that_of_ward_with_every_sample():
    """Clusters of one sample each give scipy's tree; larger ones that of all their samples, merged first."""
    draw = np.random.default_rng(0)
    samples = draw.normal(size=(12, 3))
    tree, known = ward(samples, np.ones(12, int)), linkage(samples, "ward")
    np.testing.assert_allclose(tree.height[12:], known[:, 2] ** 2 / 2)
    groups = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3])
    centres = draw.normal(size=(4, 3)) * 100
    samples = centres[groups] + draw.normal(size=(12, 3))
    means = np.stack([samples[groups == g].mean(0) for g in range(4)])
    np.testing.assert_allclose(
        ward(means, np.bincount(groups)).height[4:], linkage(samples, "ward")[-3:, 2] ** 2 / 2, rtol=1e-9
    )


def test_nodes_that_persist_longest_are_kept_and_the_root_is_none():
    means = np.array([0.0, 1.0, 2.1, 50.0, 51.0, 200.0])[:, None]
    tree = ward(means, np.ones(6, int))
    kept = kept_nodes(tree, 6)
    assert len(kept) == 4 and len(tree.parent) - 1 not in kept  # all inner nodes but the root
    (best,) = kept_nodes(tree, 1)
    assert tree.persistence()[best] == tree.persistence()[6:-1].max()
    assert len(kept_nodes(tree, 0)) == 0 and len(kept_nodes(ward(means[:1], np.ones(1, int)), 1)) == 0


@pytest.fixture(scope="module", params=["tubelets", "tokens"])
def found(request, model):  # noqa: F811
    clips = make_clips(4)
    nmf = replace(FOUR, assign=request.param)
    flat = discover(model, clips, slic=SLIC, nmf=replace(nmf, tree=0.0), key=0)
    return clips, flat, discover(model, clips, slic=SLIC, nmf=nmf, key=0)


@pytest.mark.compile
def test_leaves_stay_as_they_are_and_nodes_are_unions_of_them(found):
    _, flat, tree = found
    assert tree.leaves == len(flat) < len(tree) <= 1.5 * len(flat)
    assert tree.names[: len(flat)] == flat.names and len(set(tree.names)) == len(tree)
    for site in flat.sites:
        np.testing.assert_array_equal(tree.ids[site], flat.ids[site])
    present, size, count = tree.present(), tree.size(), tree.count()
    for node in range(tree.leaves, len(tree)):
        leaves = np.flatnonzero(tree.members[node])
        assert 2 <= len(leaves) < (flat.head[flat.site == tree.site[node]] == tree.head[node]).sum()
        assert set(zip(tree.site[leaves], tree.head[leaves], strict=True)) == {(tree.site[node], tree.head[node])}
        np.testing.assert_array_equal(tree.support(node), np.any([flat.support(int(leaf)) for leaf in leaves], axis=0))
        np.testing.assert_array_equal(present[:, node], flat.present()[:, leaves].any(1))
        assert (size[node], count[node]) == (flat.size()[leaves].sum(), flat.count()[leaves].sum())
        inside = tree.parent[leaves] == node
        assert inside.any() or (tree.parent == node).any()
    np.testing.assert_array_equal(present, Support.of(tree).present())


@pytest.mark.compile
def test_the_overlap_of_a_node_is_that_of_its_region(found):
    _, _, tree = found
    masks = np.random.default_rng(0).random((4, *tree.slic_grid[tree.sites[0]])) < 0.4
    found_ = overlap(tree, masks)
    for concept in range(len(tree)):
        region = tree.support(concept)
        both, either = (region & masks).sum((1, 2, 3)), (region | masks).sum((1, 2, 3))
        np.testing.assert_allclose(found_[:, concept], both / either)


@pytest.mark.compile
def test_new_clips_and_files_keep_the_hierarchy(model, found, tmp_path):  # noqa: F811
    _, flat, tree = found
    others = make_clips(3, seed=1)
    new, new_flat = assign(model, others, tree), assign(model, others, flat)
    assert new.names == tree.names
    np.testing.assert_array_equal(new.members, tree.members)
    for site in flat.sites:
        np.testing.assert_array_equal(new.ids[site], new_flat.ids[site])
    save_concepts(new, tmp_path)
    back = load_concepts(tmp_path)
    np.testing.assert_array_equal(back.parent, tree.parent)
    np.testing.assert_array_equal(back.present(), new.present())


@pytest.mark.compile
def test_a_removed_node_removes_its_leaves_and_nothing_twice(found):
    support = Support.of(found[2])
    tree = found[2]
    node = len(tree) - 1
    gates = np.ones((3, len(tree)), np.float32)
    gates[0, node], gates[1, 0] = 0, 0.5
    gates[2, [node, int(np.flatnonzero(tree.members[node])[0])]] = 0.5, 0.5
    closed = support.closed(gates)
    np.testing.assert_array_equal(closed[0, : tree.leaves], ~tree.members[node])
    assert closed[1, 0] == 0.5 and (closed[:, tree.leaves :] == 1).all()
    np.testing.assert_allclose(np.sort(closed[2])[:2], [0.25, 0.5])


def test_a_share_of_nodes_outside_its_range_is_refused():
    with pytest.raises(InputError, match="tree must lie"):
        replace(NMF, tree=1.5)
