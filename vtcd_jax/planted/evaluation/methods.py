"""Methods: how concepts are found, assigned on other clips, and ranked. VTCD is one; users may define others.

The functions of a method get the network and the clips, never the truth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.concepts import Concepts, Tubelets, discover, random_groups
from vtcd_jax.concepts import assign as assign_dictionary
from vtcd_jax.concepts.labels import Labels
from vtcd_jax.data import Clips
from vtcd_jax.importance import cris
from vtcd_jax.models import Model

from .settings import VtcdSettings

Discoverer = Callable[[Model, Clips, jax.Array], Concepts]
"""(model, clips, key) -> concepts on these clips."""
Assigner = Callable[[Model, Clips, Concepts], Concepts]
"""(model, other clips, concepts) -> the same concepts, by number, on other clips."""
Ranker = Callable[[Model, Clips, Concepts, jax.Array], np.ndarray]
"""(model, clips, concepts on them, key) -> importance [concept], the most important largest."""
Control = Callable[[Concepts, jax.Array], Concepts]
"""(concepts, key) -> as many concepts of the same sizes, drawn at random."""


def permuted_concepts(concepts: Concepts, key: jax.Array) -> Concepts:
    """Random groups: tubelets of each head permuted among its concepts; without tubelets, the tokens of each clip."""
    if len(concepts.tubelets):
        return random_groups(concepts, key)
    draw, ids = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist()), {}
    for site, concept_ids in concepts.ids.items():
        by_head = np.moveaxis(concept_ids, 4, 1)
        tokens = by_head.reshape(*by_head.shape[:2], -1, by_head.shape[-1])
        order = draw.permuted(np.broadcast_to(np.arange(tokens.shape[2]), tokens.shape[:3]), axis=2)
        mixed = np.take_along_axis(tokens, order[..., None], 2)  # all concepts of a token stay together
        ids[site] = np.moveaxis(mixed.reshape(by_head.shape), 1, 4)
    return dataclasses.replace(concepts, ids=ids)


@dataclass(frozen=True)
class Method:
    """A method to find and rank concepts, and to draw random groups in their place."""

    discover: Discoverer
    rank: Ranker
    assign: Assigner = assign_dictionary
    control: Control = permuted_concepts


def vtcd(settings: VtcdSettings | None = None) -> Method:
    """VTCD, with the ranking by the logit of the clip's class."""
    s = settings or VtcdSettings()

    def find(model: Model, clips: Clips, key: jax.Array) -> Concepts:
        return discover(model, clips, slic=s.slic, nmf=s.nmf, key=key)

    return Method(find, by_masks(s.masks))


def by_masks(masks: int) -> Ranker:
    """The ranking of VTCD, by the logit of the clip's class. masks: largest number of passes per clip."""

    def rank(model: Model, clips: Clips, concepts: Concepts, key: jax.Array) -> np.ndarray:
        return cris(model, clips, concepts, score="logit", masks=masks, key=key, dtype="float32").importance

    return rank


def from_tokens(clips: Clips, ids: Mapping[str, np.ndarray], count: int) -> Concepts:
    """``count`` concepts given only by their tokens, for methods without tubelets or dictionaries.

    ids: site -> int [video, time, height, width, head], number of each token's concept, -1 for none; with a last axis
         [slot] a token may have several concepts.
    """
    ids = {name: np.asarray(array, np.int32) for name, array in ids.items()}
    ids = {name: array if array.ndim == 6 else array[..., None] for name, array in ids.items()}
    sites = tuple(ids)
    site, head = np.zeros((2, count), np.int32)
    for s, name in enumerate(sites):
        for h in range(ids[name].shape[4]):
            numbers = np.unique(ids[name][..., h, :])
            site[numbers[numbers >= 0]], head[numbers[numbers >= 0]] = s, h
    nothing = np.zeros(0, np.int32)
    unknown = np.full(count, np.nan, np.float32)
    grid = {name: (own.shape[1], own.shape[2], own.shape[3]) for name, own in ids.items()}
    return Concepts(
        sites=sites,
        grid=grid,
        slic_grid=grid,
        site=site,
        head=head,
        number=np.arange(1, count + 1, dtype=np.int32),
        dictionary=np.zeros((count, 1), np.float32),
        tubelets=Tubelets(nothing, nothing, nothing, nothing, nothing, np.zeros((0, 1), np.float32)),
        assignment=nothing,
        weights=np.zeros(0, np.float32),
        memberships=np.zeros((0, count), np.float32),
        ids=ids,
        labels=Labels(),
        silhouette=unknown,
        error=unknown,
        converged=np.ones(count, bool),
        video_names=clips.names,
        video_hashes=clips.hashes,
    )
