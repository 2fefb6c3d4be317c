"""Is an importance more than chance? Scores are dealt anew among the masks of each clip, so that no concept matters.

Complementary pairs stay together and may be turned around. A concept's p is the share of deals in which *any* concept
stands out as much, each measured in its own spread (Westfall & Young 1993): it holds for all concepts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.models import Seed

from .designs import Design
from .draws import generator, key_bytes
from .linear import weights


@dataclass(frozen=True)
class Null:
    """p: float64 [concept], for all concepts together, at least 1 / (draws + 1).
    spread: float64 [concept], standard deviation of the importance when nothing matters.  draws: number of deals.
    """

    p: np.ndarray
    spread: np.ndarray
    draws: int


def permutation_null(
    estimator: str,
    design: Design,
    scores: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    key: Seed,
    draws: int = 400,
) -> Null:
    """Null distribution of the mean importance over clips.

    scores: [video, mask], NaN where not run.  hashes: of the clips.  present: bool [video, concept].
    """
    total = np.zeros((1 + draws, present.shape[1]))
    for video, row in enumerate(scores):
        y = row[np.isfinite(row)].astype(np.float64)
        y = y[: len(y) // 2 * 2] if design.paired else y
        own = weights(estimator, design, len(y), hashes[video], present[video])
        dealt = deals(y - y.mean(), design.paired, draws, generator(key_bytes(key), hashes[video], 0))
        total += dealt @ (own - own.mean(0)) / len(scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        heights = np.nan_to_num(np.abs(total) / total.std(0))  # the true deal is one among all, so the level is exact
    p = (1 + (heights[1:].max(1)[:, None] >= heights[0] - 1e-12).sum(0)) / (draws + 1)
    return Null(p, total[1:].std(0), draws)


def deals(y: np.ndarray, paired: bool, draws: int, generator: np.random.Generator) -> np.ndarray:
    """[1 + draws, mask]: the scores as they are, then dealt anew."""
    rows = [y]
    for _ in range(draws):
        if paired:
            pairs = generator.permutation(y.reshape(-1, 2))
            turned = generator.random(len(pairs)) < 0.5
            rows.append(np.where(turned[:, None], pairs[:, ::-1], pairs).ravel())
        else:
            rows.append(generator.permutation(y))
    return np.array(rows)
