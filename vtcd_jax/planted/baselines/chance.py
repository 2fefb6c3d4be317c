"""Baselines that learn nothing: random groups of tokens, and random tubelets as centres."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from zlib import crc32

import jax
import numpy as np

from vtcd_jax.concepts import Concepts, assign, discover
from vtcd_jax.data import Clips
from vtcd_jax.models import Model

from ..evaluation.methods import Method, by_masks
from ..evaluation.settings import VtcdSettings
from .arrays import Label, seed_of
from .centres import LEAVES
from .heads import as_sites, numbered, tokens_of


def random_groups(features: Mapping[str, np.ndarray], video: np.ndarray, seed: int) -> Label:
    """Every token in one of 14 groups of its head, by lot."""
    return partial(_drawn, seed)


def _drawn(seed: int, features: Mapping[str, np.ndarray], video: np.ndarray) -> dict[str, np.ndarray]:
    heads, tokens, _ = tokens_of(features).shape
    rng = np.random.default_rng([seed, crc32(video.tobytes())])  # other clips, other groups
    ids = rng.integers(0, LEAVES, (heads, tokens, 1))
    return as_sites(numbered(ids, LEAVES), features)


def random_centres(settings: VtcdSettings) -> Method:
    """A dictionary that learns nothing: tubelets, and as many concepts as VTCD's elbow chooses, but a head's centres
    are tubelets drawn by lot. Every tubelet, of the first half and of the other, goes to the nearest centre."""
    nmf = dataclasses.replace(settings.nmf, method="k-means", refits=0)

    def find(model: Model, clips: Clips, key: jax.Array) -> Concepts:
        found = discover(model, clips, slic=settings.slic, nmf=nmf, key=key)
        rng, t = np.random.default_rng(seed_of(key)), found.tubelets
        dictionary = found.dictionary.copy()
        for site, head in np.unique(np.stack([found.site, found.head]), axis=1).T:
            own = np.flatnonzero((found.site == site) & (found.head == head))
            tubelets = np.flatnonzero((t.site == site) & (t.head == head))
            dictionary[own] = t.feature[rng.choice(tubelets, len(own), replace=False)]
        return assign(model, clips, dataclasses.replace(found, dictionary=dictionary))

    return Method(find, by_masks(settings.masks))
