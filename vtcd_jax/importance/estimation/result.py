"""Importance over clips: the mean of the clips' estimates, with two standard errors.

    v  clip, of V          phi_v  its estimate, with variance s_v² over draws of the masks and nu_v degrees of freedom

``se_masks``, sqrt(Σ s_v²) / V, is the sampling error of the masks: the error on *these clips*. ``se_videos``, the
standard deviation of phi_v over clips / sqrt(V), is the error for *new clips* of the same kind and includes the first.
Intervals are Student's, with Welch and Satterthwaite's degrees of freedom.

Clips of equal content have equal masks, so a copy adds no information. Both errors treat copies as one draw: the first
adds their s_v before squaring, the second is the standard deviation of the sums over such groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.showing import html_table, to_pandas
from vtcd_jax.base.statistics import half_width
from vtcd_jax.concepts import Concepts

from .formulas import Estimate, Shared

LEVEL = 0.95


@dataclass(frozen=True)
class Importance:
    """How much each concept matters for one score.

    score, estimator, design: their names.
    masks:              int [video], masked passes and passes for slopes of each clip that were read.
    importance:         float64 [concept], mean over all clips; a concept absent from a clip counts 0 there
                        (for "paper" and "released" absent concepts are removed too, as in the originals).
    importance_present: float64 [concept], mean over the clips that have the concept.
    videos:             int [concept], number of those clips.
    per_video:          float64 [video, concept].
    present:            bool [video, concept].
    se_masks:           float64 [concept], standard error for *these* clips (sampling error of the masks); NaN with too
                        few masks.
    dof_masks:          float64 [concept], its degrees of freedom.
    se_videos:          float64 [concept], standard error for *new* clips of the same kind; NaN with one clip.
    distinct:           number of clips of different content.
    pooled:             number of clips whose sampling error is pooled over concepts, because whole blocks are missing.
    baseline:           float64 [video], the score with nothing removed.
    """

    score: str
    estimator: str
    design: str
    masks: np.ndarray
    importance: np.ndarray
    importance_present: np.ndarray
    videos: np.ndarray
    per_video: np.ndarray
    present: np.ndarray
    se_masks: np.ndarray
    dof_masks: np.ndarray
    se_videos: np.ndarray
    distinct: int
    pooled: int
    baseline: np.ndarray

    def order(self) -> np.ndarray:
        """int [concept]: concepts from most to least important, ties by index."""
        return np.argsort(-self.importance, kind="stable")

    def __repr__(self) -> str:
        these, new = self.half_widths()
        clear = int((np.abs(self.importance) > np.where(np.isfinite(these), these, new)).sum())
        return (
            f"<importance of {len(self.importance)} concepts by {self.score.replace('_', ' ')} on {len(self.masks)} "
            f"clips, {self.design}: {clear} intervals leave zero out>"
        )

    def _repr_html_(self) -> str:
        return html_table(repr(self)[1:-1], self.table())

    def table(self, concepts: Concepts | None = None) -> dict[str, np.ndarray | Sequence[Any]]:
        """A row per concept, most important first, as columns. concepts: those that were ranked, for their names.

        half_width_masks, half_width_videos: of the 95 % intervals for these clips and for new ones.
        """
        order, (these, new) = self.order(), self.half_widths()
        columns: dict[str, np.ndarray | Sequence[Any]] = {"rank": np.arange(1, len(order) + 1), "id": order}
        if concepts is not None:
            if len(concepts) != len(order):
                raise InputError(f"{len(concepts)} concepts, but {len(order)} were ranked; give the ranked ones")
            columns["name"] = tuple(concepts.names[i] for i in order)
            columns["layer"] = np.asarray(concepts.layers)[concepts.site][order]
            columns["head"] = concepts.head[order]
        return columns | {
            "score": (self.score,) * len(order),
            "importance": self.importance[order],
            "se_masks": self.se_masks[order],
            "half_width_masks": these[order],
            "se_videos": self.se_videos[order],
            "half_width_videos": new[order],
            "videos": self.videos[order],
            "importance_present": self.importance_present[order],
        }

    def to_pandas(self, concepts: Concepts | None = None) -> Any:
        """``table()`` as a data frame."""
        return to_pandas(self.table(concepts))

    def half_widths(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Half the width of the intervals (for these clips, for new clips), float64 [concept] each."""
        these = half_width(self.se_masks, self.dof_masks, level)
        new = half_width(self.se_videos, self.distinct - 1, level) if self.distinct > 1 else self.se_videos
        return these, new


def combine(
    score: str,
    estimator: str,
    design: str,
    estimates: Sequence[Estimate],
    masks: Sequence[int],
    present: np.ndarray,
    baseline: np.ndarray,
    hashes: Sequence[str] | None = None,
    shared: Shared | None = None,
) -> Importance:
    """Importance over clips from the estimates of each. present: bool [video, concept].  baseline: [video].

    hashes: of the clips' content, equal ones are copies; None: all clips differ.
    shared: an error that all clips have in common; None: they have none.
    """
    values = np.stack([e.value for e in estimates])
    groups, videos = groups_of(hashes if hashes is not None else range(len(values))), present.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        over_present = np.where(videos > 0, (values * present).sum(0) / np.maximum(videos, 1), 0.0)
    se_masks, dof = error_of_mean(estimates, groups, shared)
    common = 0.0 if shared is None else shared.variance
    return Importance(
        score=score,
        estimator=estimator,
        design=design,
        masks=np.asarray(masks, int),
        importance=values.mean(0),
        importance_present=over_present,
        videos=videos,
        per_video=values,
        present=present,
        se_masks=se_masks,
        dof_masks=dof,
        se_videos=np.sqrt(_error_over_clips(values, groups) ** 2 + common),
        distinct=int(groups.max()) + 1,
        pooled=sum(e.pooled for e in estimates),
        baseline=np.asarray(baseline, np.float64),
    )


def groups_of(hashes: Iterable[str | int]) -> np.ndarray:
    """int [video]: a number for each different content."""
    return np.unique(list(hashes), return_inverse=True)[1]


def summed(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """[group, ...]: sums over the members of each group. values: [video, ...]."""
    total = np.zeros((groups.max() + 1, *values.shape[1:]))
    np.add.at(total, groups, values)
    return total


def error_of_mean(
    estimates: Sequence[Estimate], groups: np.ndarray, shared: Shared | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Sampling error of the mean over clips, and its degrees of freedom, [concept] each."""
    variances = summed(np.sqrt([e.variance for e in estimates]), groups) ** 2
    clip_dof = np.array([np.broadcast_to(e.dof, e.value.shape) for e in estimates])
    dof = np.array([clip_dof[groups == group].min(0) for group in range(len(variances))])
    if shared is not None:
        common = shared.variance * len(estimates) ** 2
        variances, dof = np.vstack([variances, common]), np.vstack([dof, np.full(common.shape, shared.dof)])
    total = variances.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        satterthwaite = np.where(total > 0, total**2 / (variances**2 / dof).sum(0), dof.sum(0))
    return np.sqrt(total) / len(estimates), satterthwaite


def _error_over_clips(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Standard error of the mean over new clips [concept]; NaN where all are copies of one."""
    count = int(groups.max()) + 1
    if count < 2:
        return np.full(values.shape[1], np.nan)
    deviation = summed(values - values.mean(0), groups)
    return np.sqrt((deviation**2).sum(0) * count / (count - 1)) / len(values)
