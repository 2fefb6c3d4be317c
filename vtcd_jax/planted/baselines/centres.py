"""Tokens given to the nearest of a head's centres: k-means with a fixed number, with silhouettes, and a tree.

    centre   mean of a cluster of tokens of one head (on the first half of the clips)
    tree     ``LEAVES`` centres merged by Ward's criterion, two by two, until one is left. Leaves and inner nodes, but
             not the root, are concepts, so that a token has its leaf and all ancestors of it

Ward (1963), "Hierarchical Grouping to Optimize an Objective Function"; Rousseeuw (1987) for silhouettes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np
from jaxtyping import Float, Int

from vtcd_jax.concepts.clustering.number_of_concepts import choose_numbers, head_keys
from vtcd_jax.concepts.hierarchy import ward
from vtcd_jax.concepts.settings import ElbowRule

from .arrays import Label
from .heads import as_sites, numbered, tokens_of

FIXED, LEAVES = 8, 14
SAMPLE = 768  # tokens of a head that clusters are fitted to
RESTARTS = 3

Centres = Float[np.ndarray, "head centre channel"]


def fixed_number(features: Mapping[str, np.ndarray], video: np.ndarray, seed: int) -> Label:
    """``FIXED`` concepts per head."""
    return partial(nearest_labels, _centres(features, seed, ElbowRule(rule="fixed", number=FIXED)))


def by_silhouette(features: Mapping[str, np.ndarray], video: np.ndarray, seed: int) -> Label:
    """As many concepts as have the largest mean silhouette, 2 to 14 per head."""
    return partial(nearest_labels, _centres(features, seed, ElbowRule(rule="paper", threshold=1.0)))


def tree(features: Mapping[str, np.ndarray], video: np.ndarray, seed: int) -> Label:
    """The nodes of a tree per head."""
    centres = _centres(features, seed, ElbowRule(rule="fixed", number=LEAVES))
    tokens = tokens_of(features)
    sizes = [np.bincount(near, minlength=LEAVES) for near in nearest(tokens, centres)]
    paths = np.stack([ancestors(own, size) for own, size in zip(centres, sizes, strict=True)])
    return partial(_tree_labels, centres, paths)


def _centres(features: Mapping[str, np.ndarray], seed: int, rule: ElbowRule) -> Centres:
    """Means of the clusters of k-means; infinite beyond a head's number."""
    tokens = tokens_of(features)
    chosen = np.random.default_rng(seed).permutation(tokens.shape[1])[:SAMPLE]
    X = np.ascontiguousarray(tokens[:, np.sort(chosen)])
    mask = np.ones(X.shape[:2], bool)
    numbers, labels = choose_numbers(X, mask, head_keys(jax.random.key(seed), len(X)), rule, restarts=RESTARTS)
    out = np.full((len(X), int(numbers.max()), X.shape[-1]), np.inf, np.float32)
    for h, own in enumerate(labels):
        for k in np.unique(own):
            out[h, k] = X[h][own == k].mean(0)
    return out


def nearest(tokens: Float[np.ndarray, "head token channel"], centres: Centres) -> Int[np.ndarray, "head token"]:
    """The nearest centre of each token."""
    known = np.asarray(np.isfinite(centres).all(-1))
    finite = np.where(known[..., None], centres, 0)
    distance = (finite**2).sum(-1)[:, None] - 2 * tokens @ finite.swapaxes(1, 2)
    return np.where(known[:, None], distance, np.inf).argmin(-1)


def nearest_labels(centres: Centres, features: Mapping[str, np.ndarray], video: np.ndarray) -> dict[str, np.ndarray]:
    """Every token's nearest centre."""
    ids = nearest(tokens_of(features), centres)[..., None]
    return as_sites(numbered(ids, centres.shape[1]), features)


def _tree_labels(
    centres: Centres, paths: Int[np.ndarray, "head leaf slot"], features: Mapping[str, np.ndarray], video: np.ndarray
) -> dict[str, np.ndarray]:
    leaves = nearest(tokens_of(features), centres)
    ids = np.take_along_axis(paths, leaves[..., None], 1)
    return as_sites(numbered(ids, 2 * LEAVES), features)


def ancestors(
    centres: Float[np.ndarray, "leaf channel"], sizes: Int[np.ndarray, "leaf"]
) -> Int[np.ndarray, "leaf slot"]:
    """The nodes above every leaf, itself first, without the root; -1 beyond them.

    Leaves are 0 … L - 1, inner nodes follow in the order of merging, by Ward's criterion (``concepts.hierarchy``).
    """
    tree, leaves = ward(centres, np.maximum(sizes, 1)), len(centres)
    paths = np.full((leaves, leaves), -1)
    for leaf in range(leaves):
        node, slot = leaf, 0
        while tree.parent[node] >= 0:
            paths[leaf, slot] = node
            node, slot = int(tree.parent[node]), slot + 1
    return paths
