"""The control of every claim about concepts: groups of tubelets drawn at random, as large as the real ones."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key

from .proposals import token_ids
from .types import Concepts


def random_groups(concepts: Concepts, key: Seed, *, within: str = "head") -> Concepts:
    """The control: as many groups of the same sizes, in the same heads, of tubelets drawn at random.

    within: "head" shuffles the concepts of a head's tubelets over all clips; "video" inside each clip, so that a group
            is present in the very clips of its concept, with as many tubelets there: a stricter control.
    Dictionary, weights and quality belong to the real concepts and are kept only as placeholders.
    """
    assignment = shuffled_assignment(concepts, key, within)
    rule = concepts.settings.get("slic", {}).get("grid_rule", "nearest")
    ids = token_ids(concepts.tubelets, assignment, concepts.labels, concepts.sites, concepts.grid, rule)
    settings = concepts.settings | {"control": f"random tubelets within each {within}"}
    return replace(concepts, assignment=assignment, ids=ids, settings=settings)


def shuffled_assignment(concepts: Concepts, key: Seed, within: str = "head") -> np.ndarray:
    """int32 [tubelet]: the concepts of the tubelets in random order, within each head, or each head and clip."""
    if within not in ("head", "video"):
        raise InputError(f"within must be head or video; got {within!r}")
    draw = np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))).tolist())
    t = concepts.tubelets
    columns = [t.site, t.head] + ([t.video] if within == "video" else [])
    _, block = np.unique(np.stack(columns), axis=1, return_inverse=True)
    # Shuffle everything, then sort stably by block: the tubelets of a block in random order.
    order = draw.permutation(len(t))
    order = order[np.argsort(block[order], kind="stable")]
    assignment = np.empty_like(concepts.assignment)
    assignment[np.argsort(block, kind="stable")] = concepts.assignment[order]
    return assignment
