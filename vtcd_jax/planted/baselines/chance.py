"""Baselines that learn nothing: random groups of tokens, random tubelets and random tokens as centres."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from zlib import crc32

import jax
import numpy as np

from vtcd_jax import concepts
from vtcd_jax.concepts import Concepts, assign, discover
from vtcd_jax.data import Clips
from vtcd_jax.models import Model

from ..evaluation.methods import Method, by_masks
from ..evaluation.settings import VtcdSettings
from .arrays import Label
from .centres import FIXED, LEAVES, nearest_labels
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
    """A dictionary that learns nothing: as many concepts as VTCD's rule chooses, but a head's centres are tokens or
    tubelets of the first half, drawn by lot, and with ``settings.nmf.tree`` unions of them. Every tubelet, or token, of
    the first half and of the other goes to the nearest centre."""
    nmf = dataclasses.replace(settings.nmf, method="k-means", refits=0)

    def find(model: Model, clips: Clips, key: jax.Array) -> Concepts:
        found = discover(model, clips, slic=settings.slic, nmf=nmf, key=key)
        drawn = concepts.random_centres(found, key)
        if found.centres is not None:
            return concepts.nearest_centres(model, clips, found, [drawn])[0]
        return assign(model, clips, dataclasses.replace(found, dictionary=drawn.centres))

    return Method(find, by_masks(settings.masks))


def random_tokens(features: Mapping[str, np.ndarray], video: np.ndarray, seed: int) -> Label:
    """Beside ``fixed_number``: as many tokens of each head as centres, drawn by lot."""
    tokens, rng = tokens_of(features), np.random.default_rng(seed)
    drawn = [head[rng.permutation(len(head))[:FIXED]] for head in tokens]
    return partial(nearest_labels, np.stack(drawn))
