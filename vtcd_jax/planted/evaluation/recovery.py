"""Overlap of concepts with planted properties, by tokens, over all clips of a set.

    precision = |concept ∩ property| / |concept|    recall = |concept ∩ property| / |property|    IoU = |∩| / |∪|

Heads are treated separately: a concept that spans several heads counts as one concept in each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from vtcd_jax.concepts import Concepts

Place = tuple[str, int]
"""(site, head)."""


@dataclass(frozen=True)
class Counts:
    """Tokens of every concept in every head.

    places: the heads.
    size:   float64 [place, concept], tokens of all clips.
    both:   property -> float64 [place, concept], tokens of the concept with the property.
    total:  property -> number of tokens with the property.
    """

    places: tuple[Place, ...]
    size: Float[np.ndarray, "place concept"]
    both: dict[str, Float[np.ndarray, "place concept"]]
    total: dict[str, int]

    def precision(self, name: str) -> Float[np.ndarray, "place concept"]:
        return self.both[name] / np.maximum(self.size, 1)

    def recall(self, name: str) -> Float[np.ndarray, "place concept"]:
        return self.both[name] / max(self.total[name], 1)

    def iou(self, name: str) -> Float[np.ndarray, "place concept"]:
        return self.both[name] / np.maximum(self.size + self.total[name] - self.both[name], 1)


def count(concepts: Concepts, masks: Mapping[str, Bool[np.ndarray, "video time height width"]]) -> Counts:
    """Counts the tokens of all concepts, in total and inside each mask."""
    places: list[Place] = []
    size: list[np.ndarray] = []
    both: dict[str, list[np.ndarray]] = {name: [] for name in masks}
    for site, ids in concepts.ids.items():
        for head in range(ids.shape[4]):
            head_ids = ids[..., head, :]
            places.append((site, head))
            size.append(concepts.members @ _tokens(head_ids, concepts.leaves))
            for name, mask in masks.items():
                both[name].append(concepts.members @ _tokens(head_ids[mask], concepts.leaves))
    total = {name: int(mask.sum()) for name, mask in masks.items()}
    return Counts(tuple(places), np.stack(size), {name: np.stack(rows) for name, rows in both.items()}, total)


def _tokens(ids: np.ndarray, concepts: int) -> Float[np.ndarray, "concept"]:
    """Number of tokens of each concept; tokens without one (-1) are ignored."""
    return np.bincount(ids.ravel() + 1, minlength=concepts + 1)[1:].astype(np.float64)


def best(counts: Counts, name: str, places: Collection[Place] | None = None) -> tuple[int, int]:
    """(place, concept) with the largest IoU with a property. places: heads to search; None: all."""
    iou = counts.iou(name).copy()
    if places is not None:
        iou[[place not in places for place in counts.places]] = -1
    place, concept = np.unravel_index(iou.argmax(), iou.shape)
    return int(place), int(concept)
