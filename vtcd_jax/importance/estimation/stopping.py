"""When are there masks enough? Looks at a ranking while it is being measured.

    separated   every one of the top k lies above every other concept (for these clips): tests of all differences hold
                together at level alpha by Holm's correction; they are two-sided, since the same scores have said which
                concepts are the top. At look l the level is alpha / (l (l + 1)), whose sum over all looks is alpha, so
                that looking often does not find what is not there.
    noise       the masks' share in the variance of a clip's estimates is at most a fifth (s² <= between / 4): more
                masks on these clips would hardly help to know new clips.

Beside it stands how stable the ranking is: Spearman's correlation between two repetitions of the measurement with other
masks, foretold from the standard errors, with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vtcd_jax.base.statistics import exceedance

from ..designs.hadamard import Hadamard
from ..designs.random import Design, LeaveOneOut
from .convergence import repetitions
from .formulas import regression_masks
from .result import Importance

ALPHA = 0.05
NOISE = 0.25  # masks' variance over clips' variance, below which masks are enough
FIRST = 128  # masks at the first look at designs without blocks, at least


@dataclass(frozen=True)
class Look:
    """number: from 1.  masks: passes so far, over all clips.  top: k.
    undecided: pairs (one of the top k, another concept) that the tests do not tell apart.
    noise: variance of the masks over that between clips, each summed over concepts; NaN with one clip.
    stability, low, high: correlation of the ranking with a repetition of it, and its interval.
    reason: why to stop, or "" to go on.
    """

    number: int
    masks: int
    top: int
    undecided: int
    noise: float
    stability: float
    low: float
    high: float
    reason: str

    def line(self) -> str:
        """For people."""
        state = self.reason or "going on"
        return (
            f"look {self.number}: {self.masks:,} passes, {self.undecided} pairs around the top {self.top} undecided, "
            f"noise {self.noise:.2g} of the spread over clips, rank stability {self.stability:.3f} "
            f"({self.low:.3f} to {self.high:.3f}): {state}"
        )


def look(importance: Importance, number: int, *, top: int = 10, alpha: float = ALPHA, seed: int = 0) -> Look:
    """Judges a ranking after look ``number``."""
    top = min(top, len(importance.importance) - 1)
    undecided = undecided_pairs(importance, top, alpha / (number * (number + 1)))
    noise = noise_share(importance)
    reason = ""
    if undecided == 0:
        reason = f"the top {top} are separated from the rest"
    elif noise <= NOISE:
        reason = f"the noise of the masks is {noise:.2g} of the spread over clips, at most {NOISE} was asked"
    stable = stability(importance, np.random.default_rng(seed))
    passes = int(importance.masks.sum())
    return Look(number, passes, top, undecided, noise, *stable, reason)


def undecided_pairs(importance: Importance, top: int, alpha: float) -> int:
    """Pairs (i of the top, j of the rest) whose difference Holm's procedure does not call positive."""
    order = importance.order()
    first, rest = order[:top], order[top:]
    value, variance = importance.importance, importance.se_masks**2
    gap = value[first][:, None] - value[rest][None]
    error = np.sqrt(variance[first][:, None] + variance[rest][None])
    dof = np.minimum(importance.dof_masks[first][:, None], importance.dof_masks[rest][None])
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * exceedance(gap / error, dof), np.where(gap > 0, 0.0, 1.0))
    p = np.where(np.isfinite(gap) & np.isfinite(error), p, 1.0)  # what has no known error is not told apart
    return len(holm_open(p.ravel(), alpha))


def holm_open(p: np.ndarray, alpha: float) -> np.ndarray:
    """Indices of the hypotheses that Holm's step-down procedure does not reject."""
    order = np.argsort(p)
    kept = np.flatnonzero(p[order] > alpha / (len(p) - np.arange(len(p))))
    return order[kept[0] :] if len(kept) else order[:0]


def noise_share(importance: Importance) -> float:
    """Σ variance of the masks / Σ variance between clips, over concepts; NaN with one clip or where the noise is not
    known, inf without spread."""
    masks = float((importance.se_masks**2).sum())
    between = float((importance.se_videos**2).sum()) - masks
    if np.isnan(between):
        return float("nan")
    return masks / between if between > 0 else float("inf")


def stability(importance: Importance, generator: np.random.Generator) -> tuple[float, float, float]:
    """(mean, 2.5 %, 97.5 %) of Spearman's correlation between two repetitions of the importance; NaN where its noise is
    not known."""
    value, error = importance.importance, importance.se_masks
    if not (np.isfinite(value) & np.isfinite(error)).all():
        return float("nan"), float("nan"), float("nan")
    foretold = repetitions(value, error, (error, error), generator)
    low, high = np.quantile(foretold, [0.025, 0.975])
    return float(np.mean(foretold)), float(low), float(high)


def looks(design: Design, present: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of each clip, int [video], at every look: twice as many (whole blocks where there are some) each time.

    present: bool [video, concept]. The last look has all rows.
    """
    ends = np.array([design.count(row) for row in present])
    units = np.array([_unit(design, row) for row in present])
    factor, rows = 1, np.minimum(units, ends)
    while (rows < ends).any():
        yield rows
        factor *= 2
        rows = np.minimum(units * factor, ends)
    yield ends


def _unit(design: Design, present: np.ndarray) -> int:
    """Rows of a clip at the first look: a block, or enough for least squares; leave-one-out is read whole."""
    if isinstance(design, LeaveOneOut):
        return design.count(present)
    if isinstance(design, Hadamard) and design.blocks(present):
        return design.block_rows(present)
    return max(FIRST, regression_masks(int(present.sum()) + 1, paired=True))
