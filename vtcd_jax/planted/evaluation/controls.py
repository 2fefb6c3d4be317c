"""The two controls of a method.

random centres   a dictionary that learns nothing: as many centres as a head has concepts are drawn at random from the
                 first half of the clips, and everything in both halves belongs to the nearest one. For concepts of
                 tubelets, and of the library's tokens, this is ``concepts.random_centres``; for concepts that are given
                 only by their tokens the centres are tokens
random groups    the weaker one (``Method.control``): other groups of the same sizes on each half
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from vtcd_jax import concepts as library
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.features import capture
from vtcd_jax.models import Model

from .methods import Method, from_tokens

Features = Mapping[str, np.ndarray]
Halves = tuple[Concepts, Concepts]
"""(on the first half of the clips, on the other)."""


def random_groups(method: Method, concepts: Halves, key: jax.Array) -> Halves:
    """Random groups on both halves, drawn apart."""
    one, two = jax.random.split(key)
    return method.control(concepts[0], one), method.control(concepts[1], two)


def random_centres(model: Model, clips: tuple[Clips, Clips], concepts: Halves, keys: jax.Array) -> list[Halves]:
    """For each key, random centres in the place of a method's concepts."""
    if len(concepts[0].tubelets):
        centres = [library.random_centres(concepts[0], key) for key in keys]
        first, other = (library.nearest_centres(model, c, own, centres) for c, own in zip(clips, concepts, strict=True))
        return list(zip(first, other, strict=True))
    features = (capture(model, clips[0], concepts[0].sites), capture(model, clips[1], concepts[0].sites))
    return [_of_tokens(clips, features, concepts[0], key) for key in keys]


def _of_tokens(
    clips: tuple[Clips, Clips], features: tuple[Features, Features], concepts: Concepts, key: jax.Array
) -> Halves:
    """Random tokens of the first half as centres. features: of each half, site -> [video, …, head, channel]."""
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    ids: tuple[dict[str, np.ndarray], ...] = ({}, {})
    total = 0
    for site, own in concepts.ids.items():
        centres = []
        for head in range(own.shape[4]):
            tokens = features[0][site][..., head, :].reshape(-1, features[0][site].shape[-1])
            count = int((np.unique(own[..., head, :]) >= 0).sum())
            centres.append((total, tokens[draw.permutation(len(tokens))[:count]]))
            total += count
        for half, values in zip(ids, features, strict=True):
            by_head = [_nearest(values[site][..., h, :], *known) for h, known in enumerate(centres)]
            half[site] = np.stack(by_head, axis=-1)
    first, other = (from_tokens(half, own, total) for half, own in zip(clips, ids, strict=True))
    return first, other


def _nearest(tokens: np.ndarray, first: int, centres: np.ndarray) -> np.ndarray:
    """int [video, time, height, width]: ``first`` plus the nearest centre [centre, channel] of each token; -1 without
    centres."""
    if not len(centres):
        return np.full(tokens.shape[:-1], -1)
    return first + ((centres**2).sum(-1) - 2 * tokens @ centres.T).argmin(-1)
