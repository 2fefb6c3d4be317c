"""Early stopping: interim analyses of a ranking while it is measured.

A ranking stops for one of two reasons:

    separated   each of the top k concepts is significantly more important than every other concept (on these clips).
                Holm's correction holds the level alpha for all differences together. The tests are two-sided, because
                the same scores have chosen the top k. Analysis l uses the level alpha / (l (l + 1)). These levels sum
                to alpha, so that many analyses do not raise the error rate.
    noise       the masks contribute at most a fifth of the variance of a clip's estimates (s² <= between / 4): more
                masks on these clips would hardly reduce the error for new clips.

Each analysis also reports the stability of the ranking: Spearman's correlation between two repetitions of the
measurement with other masks, predicted from the standard errors, with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import overload

import numpy as np

from vtcd_jax.ablation.design import Design
from vtcd_jax.base.statistics import survival

from ..designs.hadamard import Hadamard
from ..designs.levels import Levels
from ..designs.random import LeaveOneOut
from ..designs.slopes import Joined, Slopes
from .convergence import repetitions
from .estimators import Rows
from .formulas import regression_masks
from .result import Importance

ALPHA = 0.05
NOISE = 0.25  # variance of the masks over that of the clips, below which there are enough masks
FIRST = 128  # masks at the first analysis of designs without blocks, at least
FIRST_SLOPES = 32  # rows of slopes there: eight of each concept


@dataclass(frozen=True)
class InterimAnalysis:
    """One interim analysis.

    number:    from 1.
    masks:     passes so far, over all clips.
    top:       k.
    undecided: pairs (one of the top k, another concept) that do not differ significantly.
    noise:     variance of the masks over that between clips, each summed over concepts; NaN with one clip.
    stability: correlation of the ranking with a repetition of it.
    low, high: 95 % interval of the stability.
    reason:    why to stop, or "" to continue.
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
        """The analysis in one line."""
        state = self.reason or "continues"
        return (
            f"interim analysis {self.number}: {self.masks:,} passes, {self.undecided} pairs around the top {self.top} "
            f"undecided, noise {self.noise:.2g} of the variance over clips, rank stability {self.stability:.3f} "
            f"({self.low:.3f} to {self.high:.3f}): {state}"
        )


def interim_analysis(
    importance: Importance, number: int, *, top: int = 10, alpha: float = ALPHA, seed: int = 0
) -> InterimAnalysis:
    """Interim analysis ``number`` of a ranking."""
    top = min(top, len(importance.importance) - 1)
    undecided = undecided_pairs(importance, top, alpha / (number * (number + 1)))
    noise = noise_fraction(importance)
    reason = ""
    if undecided == 0:
        reason = f"the top {top} are separated from the rest"
    elif noise <= NOISE:
        reason = f"the noise of the masks is {noise:.2g} of the variance over clips (at most {NOISE} is required)"
    stable = stability(importance, np.random.default_rng(seed))
    passes = int(importance.masks.sum())
    return InterimAnalysis(number, passes, top, undecided, noise, *stable, reason)


def undecided_pairs(importance: Importance, top: int, alpha: float) -> int:
    """Pairs (i of the top, j of the rest) whose difference is not significant by Holm's procedure."""
    order = importance.order()
    first, rest = order[:top], order[top:]
    value, variance = importance.importance, importance.se_masks**2
    gap = value[first][:, None] - value[rest][None]
    error = np.sqrt(variance[first][:, None] + variance[rest][None])
    dof = np.minimum(importance.dof_masks[first][:, None], importance.dof_masks[rest][None])
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(error > 0, 2 * survival(gap / error, dof), np.where(gap > 0, 0.0, 1.0))
    p = np.where(
        np.isfinite(gap) & np.isfinite(error), p, 1.0
    )  # without a known error there is no significant difference
    return len(holm_open(p.ravel(), alpha))


def holm_open(p: np.ndarray, alpha: float) -> np.ndarray:
    """Indices of the hypotheses that Holm's step-down procedure does not reject."""
    order = np.argsort(p)
    kept = np.flatnonzero(p[order] > alpha / (len(p) - np.arange(len(p))))
    return order[kept[0] :] if len(kept) else order[:0]


def noise_fraction(importance: Importance) -> float:
    """Σ variance of the masks / Σ variance between clips, over concepts.

    NaN with one clip or where the noise is unknown; inf where clips do not differ.
    """
    masks = float((importance.se_masks**2).sum())
    between = float((importance.se_videos**2).sum()) - masks
    if np.isnan(between):
        return float("nan")
    return masks / between if between > 0 else float("inf")


def stability(importance: Importance, generator: np.random.Generator) -> tuple[float, float, float]:
    """(mean, 2.5 %, 97.5 %) of Spearman's correlation between two repetitions of the importance; NaN where its noise is
    unknown."""
    value, error = importance.importance, importance.se_masks
    if not (np.isfinite(value) & np.isfinite(error)).all():
        return float("nan"), float("nan"), float("nan")
    predicted = repetitions(value, error, (error, error), generator)
    low, high = np.quantile(predicted, [0.025, 0.975])
    return float(np.mean(predicted)), float(low), float(high)


@overload
def interim_rows(design: Design, present: np.ndarray) -> Iterator[np.ndarray]: ...


@overload
def interim_rows(design: Joined, present: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...


@overload
def interim_rows(design: Design | Joined, present: np.ndarray) -> Iterator[Rows]: ...


def interim_rows(design: Design | Joined, present: np.ndarray) -> Iterator[Rows]:
    """Rows of each clip, int [video], at each interim analysis: twice as many each time, whole blocks if possible.

    present: bool [video, concept]. The last analysis has all rows. For ``Joined`` a pair: rows of masks and of slopes,
    where a part that is measured out waits for the other.
    """
    if isinstance(design, Joined):
        parts = [list(interim_rows(part, present)) for part in (design.masks, design.slopes)]
        for number in range(max(len(part) for part in parts)):
            masks, slopes = (part[min(number, len(part) - 1)] for part in parts)
            yield masks, slopes
        return
    ends = np.array([design.count(row) for row in present])
    units = np.array([_unit(design, row) for row in present])
    factor, rows = 1, np.minimum(units, ends)
    while (rows < ends).any():
        yield rows
        factor *= 2
        rows = np.minimum(units * factor, ends)
    yield ends


def _unit(design: Design, present: np.ndarray) -> int:
    """Rows of a clip at the first analysis: a block, or enough for least squares; leave-one-out is read whole."""
    if isinstance(design, LeaveOneOut):
        return design.count(present)
    if isinstance(design, Levels):
        return design.cycle(present)
    if isinstance(design, Hadamard) and design.blocks(present):
        return design.block_rows(present)
    if isinstance(design, Slopes):
        return FIRST_SLOPES
    return max(FIRST, regression_masks(int(present.sum()) + 1, paired=True))
