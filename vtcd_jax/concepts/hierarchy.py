"""A hierarchy of the concepts of each head: those of the dictionary are its leaves, unions of them its inner nodes.

    m_a, n_a   mean and number of a cluster's tubelets      merge   the two clusters with the least increase
    d(a, b) = n_a n_b / (n_a + n_b) |m_a - m_b|²            of the squared distances to the means (Ward 1963)

A node appears at the d of its own merge (0 for a leaf) and disappears at that of its parent. It *persists* in between.
Of the inner nodes of a head those that persist longest are kept, at most ``share`` per leaf; the root is all of the
head and no concept. Both leaves and kept nodes are concepts: the elbow's rule splits what belongs together, and a node
joins it again.

Ward (1963), "Hierarchical grouping to optimize an objective function", J. Am. Stat. Assoc. 58.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .types import Concepts, Tubelets


class Tree(NamedTuple):
    """The merges of ``leaf`` clusters. Nodes are numbered: first the leaves, then the merges in their order.

    parent: int [node], -1 for the root.   height: float64 [node], d of its merge, 0 for leaves.
    """

    parent: Int[np.ndarray, "node"]
    height: Float[np.ndarray, "node"]

    @property
    def leaves(self) -> int:
        return (len(self.parent) + 1) // 2

    def persistence(self) -> Float[np.ndarray, "node"]:
        """The range of d in which each node exists; 0 for the root."""
        above = np.where(self.parent >= 0, self.height[self.parent], self.height)
        return above - self.height


def ward(means: Float[np.ndarray, "leaf channel"], sizes: Int[np.ndarray, "leaf"]) -> Tree:
    """The tree of clusters with these means and sizes, by Ward's criterion; of equal merges the first."""
    count = len(means)
    mean = np.zeros((2 * count - 1, means.shape[1]))
    size, height = np.zeros(2 * count - 1), np.zeros(2 * count - 1)
    mean[:count], size[:count] = means, sizes
    parent, open_ = np.full(2 * count - 1, -1), list(range(count))
    for node in range(count, 2 * count - 1):
        a, b = np.array([(a, b) for i, b in enumerate(open_) for a in open_[:i]]).T
        apart = size[a] * size[b] / (size[a] + size[b]) * ((mean[a] - mean[b]) ** 2).sum(1)
        best = int(apart.argmin())
        pair = [a[best], b[best]]
        size[node], height[node] = size[pair].sum(), apart[best]
        mean[node] = size[pair] @ mean[pair] / size[node]
        parent[pair] = node
        open_ = [other for other in open_ if other not in pair] + [node]
    return Tree(parent, height)


def kept_nodes(tree: Tree, wanted: int) -> Int[np.ndarray, "kept"]:
    """The inner nodes, without the root, that persist longest: at most ``wanted``, in increasing order."""
    inner = np.arange(tree.leaves, len(tree.parent) - 1)
    order = inner[np.argsort(-tree.persistence()[inner], kind="stable")]
    return np.sort(order[:wanted])


class Node(NamedTuple):
    """A kept inner node: ids of its leaves, and its number in its head."""

    leaves: np.ndarray
    number: int


def parents(
    concepts: Concepts, means: np.ndarray, sizes: np.ndarray, share: float | None = None
) -> tuple[Int[np.ndarray, "concept"], list[Node]]:
    """The concept that each is a part of, -1 for none, in the trees over the leaves of all heads; and the kept nodes,
    which follow all leaves.

    means, sizes: of the leaves, [leaf, channel] and [leaf].
    share:        of kept nodes; None: as many in each head as ``concepts`` have there.
    """
    leaves = concepts.leaves
    above, of_nodes, nodes = np.full(leaves, -1, np.int32), [], []
    sites, heads = concepts.site, concepts.head
    for site, head in sorted(set(zip(sites[:leaves].tolist(), heads[:leaves].tolist(), strict=True))):
        of_head = np.flatnonzero((sites == site) & (heads == head))
        own = of_head[of_head < leaves]
        tree = ward(means[own], sizes[own])
        wanted = int(share * len(own)) if share is not None else len(of_head) - len(own)
        kept = kept_nodes(tree, wanted).tolist()
        ids = {node: leaves + len(nodes) + i for i, node in enumerate(kept)}
        above[own] = [_above(tree, node, ids) for node in range(len(own))]
        of_nodes += [_above(tree, node, ids) for node in kept]
        nodes += [Node(own[_leaves_below(tree, node)], len(own) + 1 + i) for i, node in enumerate(kept)]
    return np.concatenate([above, np.array(of_nodes, np.int32)]), nodes


def with_tree(concepts: Concepts, tubelets: Tubelets, assignment: np.ndarray, share: float) -> Concepts:
    """The concepts with the kept inner nodes of every head, at most ``share`` per leaf, numbered on in their heads.

    tubelets, assignment: those that the concepts were found in, and their concepts.
    A node's row of the dictionary, and its centre, is the mean of its tubelets; it has its head's quality, and no
    encoder.
    """
    total = np.zeros((len(concepts), tubelets.feature.shape[1]))
    np.add.at(total, assignment, tubelets.feature)
    sizes = np.bincount(assignment, minlength=len(concepts))
    parent, nodes = parents(concepts, total / sizes[:, None], sizes, share)
    if not nodes:
        return replace(concepts, parent=parent)
    first = np.array([node.leaves[0] for node in nodes])
    means = np.stack([total[n.leaves].sum(0) / sizes[n.leaves].sum() for n in nodes]).astype(np.float32)
    fields = {name: value for name in PER_CONCEPT if (value := getattr(concepts, name)) is not None}
    new = {name: value[first] for name, value in fields.items()}
    new |= {name: means for name in ("dictionary", "centres") if name in fields}
    new |= {name: np.zeros_like(new[name]) for name in ("encoder",) if name in fields}
    new |= {name: np.full(len(nodes), np.nan, np.float32) for name in UNKNOWN if name in fields}
    new["number"] = np.array([node.number for node in nodes], np.int32)
    joined: dict[str, Any] = {name: np.concatenate([value, new[name]]) for name, value in fields.items()}
    return replace(concepts, parent=parent, **joined)


PER_CONCEPT = (
    "site", "head", "number", "dictionary", "silhouette", "error", "converged", "encoder", "centres",
    "stability_seeds", "stability_clips", "stability_centres",
)  # fmt: skip
UNKNOWN = ("stability_seeds", "stability_clips", "stability_centres")  # of nodes


def _above(tree: Tree, node: int, ids: dict[int, int]) -> int:
    """Id of the nearest kept node above a node; -1 for none."""
    while (node := int(tree.parent[node])) >= 0:
        if node in ids:
            return ids[node]
    return -1


def _leaves_below(tree: Tree, node: int) -> np.ndarray:
    below = np.zeros(len(tree.parent), bool)
    below[node] = True
    for child in range(node - 1, -1, -1):  # a parent has a higher number than its children
        below[child] |= tree.parent[child] >= 0 and below[tree.parent[child]]
    return np.flatnonzero(below[: tree.leaves])
