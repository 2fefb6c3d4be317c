"""Importance over clips: the mean of the clips' estimates, with what is known about its error.

    v  clip, of V          phi_v  its estimate, with variance s_v² over draws of the masks and nu_v degrees of freedom

Two standard errors answer two questions. ``se_masks``, sqrt(Σ s_v²) / V: how far is this from what all masks would give
on *these clips*? ``se_videos``, the spread of phi_v over clips / sqrt(V): how far from the mean over *new clips* of the
same kind (the noise of the masks is in it)? Intervals are Student's, with Welch and Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .estimators import Estimate
from .student import half_width

LEVEL = 0.95


@dataclass(frozen=True)
class Importance:
    """How much each concept matters for one score.

    score, estimator, design: their names.  masks: int [video], masked passes of each clip that were read.
    importance:         float64 [concept], mean over all clips; a concept absent from a clip counts 0 there
                        (for "paper" and "released" absent concepts are players, as in the originals).
    importance_present: float64 [concept], mean over the clips that have the concept.
    videos:             int [concept], number of those clips.
    per_video:          float64 [video, concept].
    present:            bool [video, concept].
    se_masks:           float64 [concept], standard error for *these* clips: the noise of the masks.
    dof_masks:          float64 [concept], its degrees of freedom.
    se_videos:          float64 [concept], standard error for *new* clips of the same kind; NaN with one clip.
    pooled:             number of clips whose noise is pooled over concepts, for want of whole blocks.
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
    pooled: int
    baseline: np.ndarray

    def order(self) -> np.ndarray:
        """int [concept]: concepts from most to least important, ties by index."""
        return np.argsort(-self.importance, kind="stable")

    def half_widths(self, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
        """Half the width of the intervals (for these clips, for new clips), float64 [concept] each."""
        these = half_width(self.se_masks, self.dof_masks, level)
        clips = len(self.per_video)
        new = half_width(self.se_videos, clips - 1, level) if clips > 1 else self.se_videos
        return these, new


def combine(
    score: str,
    estimator: str,
    design: str,
    estimates: Sequence[Estimate],
    masks: Sequence[int],
    present: np.ndarray,
    baseline: np.ndarray,
) -> Importance:
    """Importance over clips from the estimates of each. present: bool [video, concept].  baseline: [video]."""
    values, variances = (np.stack([getattr(e, name) for e in estimates]) for name in ("value", "variance"))
    dof = np.stack([np.broadcast_to(e.dof, e.value.shape) for e in estimates])
    clips, videos = len(values), present.sum(0)
    total = variances.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        over_present = np.where(videos > 0, (values * present).sum(0) / np.maximum(videos, 1), 0.0)
        spread = values.std(0, ddof=1) / np.sqrt(clips) if clips > 1 else np.full(values.shape[1], np.nan)
        satterthwaite = np.where(total > 0, total**2 / (variances**2 / dof).sum(0), dof.sum(0))
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
        se_masks=np.sqrt(total) / clips,
        dof_masks=satterthwaite,
        se_videos=spread,
        pooled=sum(e.pooled for e in estimates),
        baseline=np.asarray(baseline, np.float64),
    )
