"""Baselines of tokens: nearest centres, trees and sparse codes, on points whose right groups can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.planted.baselines.centres import LEAVES, ancestors, by_silhouette, fixed_number, nearest, tree
from vtcd_jax.planted.baselines.chance import random_groups
from vtcd_jax.planted.baselines.heads import as_sites, numbered, tokens_of
from vtcd_jax.planted.baselines.sparse import ACTIVE, sparse_autoencoder

GRID = (4, 6, 6)


def blobs(directions: np.ndarray, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features of two sites with two heads, and the true group of each token: its row of ``directions``."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, len(directions), (3, *GRID))
    near = directions[group][..., None, :] + 0.05 * rng.standard_normal((3, *GRID, 2, directions.shape[1]))
    return {name: near.astype(np.float32) for name in ("a", "b")}, group


def same_groups(ids: np.ndarray, group: np.ndarray) -> bool:
    """Whether two partitions are the same."""
    pairs = set(zip(ids.ravel().tolist(), group.ravel().tolist(), strict=True))
    return len(pairs) == len(np.unique(ids)) == len(np.unique(group))


def test_tokens_and_sites_are_two_orders_of_the_same():
    features = {name: np.random.default_rng(i).random((2, *GRID, 3, 5)) for i, name in enumerate("ab")}
    tokens = tokens_of(features)
    assert tokens.shape == (6, 2 * 4 * 6 * 6, 5)
    np.testing.assert_array_equal(tokens[4].reshape(2, *GRID, 5), features["b"][..., 1, :])
    ids = np.arange(tokens[..., 0].size).reshape(*tokens.shape[:2], 1)
    np.testing.assert_array_equal(as_sites(ids, features)["b"][..., 1, 0].ravel(), ids[4, :, 0])
    np.testing.assert_array_equal(numbered(np.array([[[0, -1]], [[1, 0]]]), 4), [[[0, -1]], [[5, 4]]])


def test_a_token_goes_to_the_nearest_centre_and_never_to_one_that_is_not_there():
    tokens = np.array([[[0.0, 0], [3, 3], [9, 9]]])
    centres = np.array([[[1.0, 1], [4, 4], [np.inf, np.inf]]])
    np.testing.assert_array_equal(nearest(tokens, centres), [[0, 1, 1]])


def test_a_tree_merges_the_nearest_first_and_leaves_out_the_root():
    """On a line: 0 and 1, then 10 and 12, then 0, 1 and 4; the root would hold all."""
    centres = np.array([[0.0], [1.0], [4.0], [10.0], [12.0]])
    paths = ancestors(centres, np.full(5, 2))
    assert [[n for n in path if n >= 0] for path in paths] == [[0, 5, 7], [1, 5, 7], [2, 7], [3, 6], [4, 6]]


def test_sizes_count_when_groups_are_merged():
    """A small group far away is merged before two large ones that are nearer to each other."""
    paths = ancestors(np.array([[0.0], [1.0], [3.0]]), np.array([100, 100, 1]))
    assert [[n for n in path if n >= 0] for path in paths] == [[0], [1, 3], [2, 3]]


@pytest.mark.compile
def test_separate_groups_are_found_and_found_again():
    features, group = blobs(4 * np.eye(8))
    other, group_again = blobs(4 * np.eye(8), seed=1)
    for fit in (fixed_number, by_silhouette):
        label = fit(features, np.zeros(0), 3)
        for site in features:
            assert same_groups(label(features, np.zeros(0))[site][..., 0, 0], group)
            first, then = label(features, np.zeros(0))[site][..., 1, 0], label(other, np.zeros(0))[site][..., 1, 0]
            names = dict(zip(group.ravel().tolist(), first.ravel().tolist(), strict=True))
            np.testing.assert_array_equal(then, np.vectorize(names.get)(group_again))


@pytest.mark.compile
def test_nodes_of_the_tree_are_nested():
    features, group = blobs(np.array([[0.0, 0], [0, 1], [9, 0], [9, 1]]))
    ids = tree(features, np.zeros(0), 0)(features, np.zeros(0))["a"][..., 0, :]
    nodes = np.unique(ids[ids >= 0])
    members = [(ids == node).any(-1) for node in nodes]
    assert len(nodes) > LEAVES
    for one in members:
        for other in members:
            both = (one & other).sum()
            assert both in (0, one.sum(), other.sum())
    assert any((member == (group < 2)).all() for member in members)


@pytest.mark.compile
def test_a_sparse_autoencoder_gives_a_token_several_concepts():
    """Tokens are sums of two of six directions. Over five starts: where one ends depends on rounding."""
    rng = np.random.default_rng(0)
    has = np.zeros((3, *GRID, 6), bool)
    np.put_along_axis(has, np.argsort(rng.random(has.shape), -1)[..., :2], True, -1)
    features = {"a": (has.astype(np.float32) @ np.eye(6, dtype=np.float32))[..., None, :]}
    best = []
    for seed in range(5):
        ids = sparse_autoencoder(features, np.zeros(0), seed)(features, np.zeros(0))["a"][..., 0, :]
        assert ids.shape[-1] == ACTIVE and (ids >= 0).sum(-1).max() > 1
        found = [(ids == k).any(-1) for k in np.unique(ids[ids >= 0])]
        best.append([max((f & has[..., p]).sum() / (f | has[..., p]).sum() for f in found) for p in range(6)])
    assert np.mean(best) > 0.6 and np.mean(best, 0).min() > 0.4  # all tokens together: 0.33


def test_random_groups_are_random_and_the_same_again():
    features, group = blobs(4 * np.eye(8))
    one, other = (random_groups(features, np.zeros(0), 5)(features, np.zeros(0))["a"] for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, random_groups(features, np.zeros(0), 6)(features, np.zeros(0))["a"])
    assert not np.array_equal(one, random_groups(features, np.zeros(0), 5)(features, np.ones(1))["a"])  # other clips
    assert 1 < len(np.unique(one[..., 0, 0][group == 0])) <= LEAVES
