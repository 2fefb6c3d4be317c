"""The tokens of all heads as one array, and ids of all heads as arrays of sites."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int


def tokens_of(features: Mapping[str, np.ndarray]) -> Float[np.ndarray, "head token channel"]:
    """The tokens of all clips, head by head, in the order of the sites. All sites must have the same shape."""
    by_site = [np.moveaxis(array, -2, 0) for array in features.values()]
    return np.concatenate([array.reshape(len(array), -1, array.shape[-1]) for array in by_site])


def as_sites(ids: Int[np.ndarray, "head token slot"], features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of sites, [video, time, height, width, head, slot], from those of heads."""
    out, first = {}, 0
    for site, array in features.items():
        heads = array.shape[4]
        own = ids[first : first + heads].reshape(heads, *array.shape[:4], ids.shape[-1])
        out[site], first = np.moveaxis(own, 0, 4), first + heads
    return out


def numbered(ids: Int[np.ndarray, "head token slot"], per_head: int) -> Int[np.ndarray, "head token slot"]:
    """Numbers over all heads, from those inside each head, of which there are at most ``per_head``."""
    return np.where(ids >= 0, ids + per_head * np.arange(len(ids))[:, None, None], -1).astype(np.int32)
