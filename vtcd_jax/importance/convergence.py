"""How far masks have brought a ranking: two halves of the masks, independent of each other, ranked side by side.

At m masks a clip, the ranking from m masks of the first half is correlated (Spearman) with that from m masks of the
second. It is what one would see on repeating the measurement with m masks; the ranking from all masks is better than
the last point. Of Hadamard designs whole blocks alone are halved: within a block the errors of one half are the
opposite of the other's. The interval comes from drawing the clips again (bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import student
from .blocks import Hadamard
from .designs import Design, LeaveOneOut
from .estimators import regression_masks
from .linear import weights

POINTS = 8
LEAST = 8  # masks a clip of the first point
DRAWS = 200


@dataclass(frozen=True)
class Convergence:
    """masks: int [point], mean masks per clip.  correlation, low, high: float64 [point], with its 95 % interval."""

    masks: np.ndarray
    correlation: np.ndarray
    low: np.ndarray
    high: np.ndarray


def convergence(
    estimator: str,
    design: Design,
    scores: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    seed: int = 0,
) -> Convergence:
    """The curve of scores [video, mask] (NaN: not run).

    Empty where a clip has too few masks to halve, and for leave-one-out, whose halves know other concepts.
    """
    counts = np.isfinite(scores).sum(1)
    rng, rows = np.random.default_rng(seed), []
    for share in np.geomspace(1 / 2 ** (POINTS / 2), 1, POINTS):
        pairs = [_halves(estimator, design, scores[v, :n], hashes[v], present[v], share) for v, n in enumerate(counts)]
        if any(pair is None for pair in pairs):
            continue
        first, second = (np.array([pair[side] for pair in pairs if pair]) for side in (0, 1))
        used = float(np.mean([pair[2] for pair in pairs if pair]))
        rows.append((used, float(rank_correlation(first.mean(0), second.mean(0))), *_interval(first, second, rng)))
    found = dict((row[0], row) for row in rows)  # equal numbers of whole blocks once
    masks, *curve = np.array(list(found.values())).reshape(-1, 4).T
    return Convergence(np.round(masks).astype(int), *curve)


def _halves(
    estimator: str, design: Design, y: np.ndarray, clip_hash: str, present: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Estimates [concept] from ``share`` of each half of a clip's masks, and how many masks that is."""
    unit, least = 2 if design.paired else 1, LEAST
    if isinstance(design, Hadamard):
        unit = design.block_rows(present)
        estimator = "contrast" if estimator == "regression" else estimator  # the same on whole blocks
    elif estimator == "regression":
        least = max(LEAST, regression_masks(int(present.sum()), design.paired))
    half = len(y) // unit // 2
    taken = int(round(half * share)) * unit
    if taken < least or isinstance(design, LeaveOneOut):
        return None
    sides = []
    for start in (0, half * unit):
        weight = weights(estimator, _Part(design, start), taken, clip_hash, present)
        sides.append(y[start : start + taken] @ weight)
    return sides[0], sides[1], taken


@dataclass(frozen=True)
class _Part:
    """The rows of a design from ``begin`` on, as a plain design."""

    design: Design
    begin: int

    @property
    def masks(self) -> int:
        return self.design.masks - self.begin

    @property
    def paired(self) -> bool:
        return self.design.paired

    @property
    def ratio(self) -> float:
        return self.design.ratio

    def count(self, present: np.ndarray) -> int:
        return self.design.count(present) - self.begin

    def rows(self, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
        return self.design.rows(clip_hash, self.begin + start, self.begin + stop, present)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation of importances [..., concept], float64 [...]; 0 where one is constant."""
    first, second = (ranks - ranks.mean(-1, keepdims=True) for ranks in (student.ranks(first), student.ranks(second)))
    size = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    return np.divide((first * second).sum(-1), size, out=np.zeros(np.shape(size)), where=size > 0)


def _interval(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    clips = len(first)
    times = np.stack([np.bincount(rng.integers(0, clips, clips), minlength=clips) for _ in range(DRAWS)])
    low, high = np.quantile(rank_correlation(times @ first, times @ second), [0.025, 0.975])
    return float(low), float(high)
