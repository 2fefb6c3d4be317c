"""The control of every claim about concepts: groups of tubelets drawn at random, as large as the real ones."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from .segment import token_ids
from .types import Concepts


def random_concepts(concepts: Concepts, key: jax.Array) -> Concepts:
    """The same tubelets, dealt anew to the concepts of their head; sizes (in tubelets) stay.

    Dictionary, silhouette and error are those of the real concepts and mean nothing here.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    order = np.lexsort((concepts.tubelets.head, concepts.tubelets.site))
    places = np.stack([concepts.tubelets.site, concepts.tubelets.head])[:, order]
    ends = np.flatnonzero((np.diff(places, axis=1) != 0).any(0)) + 1
    dealt = np.empty_like(concepts.assignment)
    for rows in np.split(order, ends):
        dealt[rows] = rng.permutation(concepts.assignment[rows])
    rule = concepts.settings.get("slic", {}).get("grid_rule", "nearest")
    ids = token_ids(concepts.tubelets, dealt, concepts.labels, concepts.sites, concepts.grid, rule)
    return dataclasses.replace(concepts, assignment=dealt, ids=ids)
