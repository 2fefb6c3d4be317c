"""Truth for tracking through occlusion: what the network is asked, and what it should answer.

    target_whole, target  bool [*clip, time, height, width], where the target is and where it is seen
    query                 bool [*clip, time, height, width], the target's place in frame 0, nothing elsewhere
    truth                 bool [*clip, time, height, width, 3]: target (seen or not), frontmost occluder, outermost
                          container

Van Hoorick, Tokmakov, Stent, Li & Vondrick (2023), "Tracking through Containers and Occluders in the Wild", CVPR, §3:
an occluder is the answer where it hides at least 95 % of the target, a container where it holds three quarters of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

OCCLUDED = 0.95


class Tracked(NamedTuple):
    """truth: see above.  occlusion: float [*clip, time], hidden share of the target, 0 where it is out of the frame."""

    truth: np.ndarray
    occlusion: np.ndarray


def query_mask(target_whole: np.ndarray) -> np.ndarray:
    """The target's place in frame 0, whether something hides it there or not; nothing in later frames."""
    query = np.zeros_like(target_whole, dtype=bool)
    query[..., 0, :, :] = target_whole[..., 0, :, :]
    return query


def occlusion(target: np.ndarray, target_whole: np.ndarray) -> np.ndarray:
    """float [*clip, time]."""
    whole = target_whole.sum((-2, -1))
    return np.where(whole > 0, 1 - target.sum((-2, -1)) / np.maximum(whole, 1), 0.0)


def tracked(target: np.ndarray, target_whole: np.ndarray, prop: np.ndarray, contained: np.ndarray) -> Tracked:
    """prop: bool [*clip, time, height, width], what can hide or hold the target.  contained: bool [*clip, time]."""
    hidden = occlusion(target, target_whole)
    occluder = prop & (hidden >= OCCLUDED)[..., None, None]
    container = prop & contained[..., None, None]
    return Tracked(np.stack([target_whole, occluder, container], axis=-1), hidden)


def mask_iou(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """float [*clip, time]: intersection over union of bool masks [*clip, time, height, width]; NaN without truth."""
    both = (predicted & truth).sum((-2, -1))
    either = (predicted | truth).sum((-2, -1))
    return np.where(truth.any((-2, -1)), both / np.maximum(either, 1), np.nan)
