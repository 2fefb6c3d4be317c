"""Every estimator as weights on scores: value = scores @ weights (+ a constant). Cheap for many permuted scores."""

from __future__ import annotations

import numpy as np

from .blocks import Hadamard
from .designs import Design
from .estimators import played


def weights(estimator: str, design: Design, count: int, clip_hash: str, present: np.ndarray) -> np.ndarray:
    """float64 [mask, concept] for the first ``count`` masks of a clip.

    What whole Hadamard blocks or pairs leave over has weight 0. For "paper" and "drop" the constant is the baseline's
    share.
    """
    whole = design.block_rows(present) if isinstance(design, Hadamard) and present.any() else 0
    balanced = bool(whole) and count >= whole and estimator in ("contrast", "regression")
    unit = whole if balanced else 2 if design.paired else 1
    used = count // unit * unit
    kept = design.rows(clip_hash, 0, used, present).astype(np.float64)
    found = np.zeros((count, len(present)))
    if balanced:
        found[:used] = 2 * _signs(kept) / used
    elif estimator == "regression" and isinstance(design, Hadamard) and present.any():
        ones, numbers = design.representatives(present), design.players(present)
        found[:used] = np.where(numbers >= 0, _of_rows(estimator, kept[:, ones], design.paired)[:, numbers], 0.0)
    else:
        found[:used] = _of_rows(estimator, kept, design.paired)
    return found


def _signs(kept: np.ndarray) -> np.ndarray:
    """1 kept, -1 removed, 0 for concepts that never play."""
    return np.where(played(kept), 2 * kept - 1, 0.0)


def _of_rows(estimator: str, kept: np.ndarray, paired: bool) -> np.ndarray:
    if estimator == "released":
        return kept
    if estimator == "paper":
        return (kept - 1) / len(kept)
    if estimator == "drop":
        return kept - 1
    signs = _signs(kept)
    if estimator == "regression":
        pairs = signs[0::2] if paired else signs - signs.mean(0)
        solved = 2 * np.linalg.pinv(pairs, rcond=1e-9).T
        return np.repeat(solved, 2, axis=0) * np.tile([[0.5], [-0.5]], (len(solved), 1)) if paired else solved
    if paired:
        return 2 * signs / len(kept)
    times_kept, times_removed = np.maximum(kept.sum(0), 1), np.maximum((1 - kept).sum(0), 1)
    return np.where(played(kept), kept / times_kept - (1 - kept) / times_removed, 0.0)
