"""CRIS: concept importance by random masking (Kowal et al. 2024, VTCD, section 3.3 and equation 6).

Concepts of all layers and heads are removed together, at random; a concept matters when the score is lower without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.models import Model

from .designs import Design, Random
from .engine import scores as run_scores
from .estimators import per_clip
from .score import Score, default_scores, score_functions
from .support import Support
from .targets import Reference, Targets, find_targets


@dataclass(frozen=True)
class Importance:
    """How much each concept matters for one score.

    score, estimator, design: their names.  ratio: share of concepts removed per mask.  masks: per clip.
    importance:         float64 [concept], mean over all clips; a concept absent from a clip counts 0 there
                        (for "paper" and "released" absent concepts are players, as in the originals).
    importance_present: float64 [concept], mean over the clips that have the concept.
    videos:             int [concept], number of those clips.
    per_video:          float64 [video, concept].
    present:            bool [video, concept].
    se_masks:           float64 [concept], standard error for *these* clips: the noise of the masks.
    se_videos:          float64 [concept], standard error for *new* clips of the same kind; NaN with one clip.
    baseline:           float64 [video], the score with nothing removed.
    """

    score: str
    estimator: str
    design: str
    ratio: float
    masks: int
    importance: np.ndarray
    importance_present: np.ndarray
    videos: np.ndarray
    per_video: np.ndarray
    present: np.ndarray
    se_masks: np.ndarray
    se_videos: np.ndarray
    baseline: np.ndarray

    def order(self) -> np.ndarray:
        """int [concept]: concepts from most to least important, ties by index."""
        return np.argsort(-self.importance, kind="stable")


def cris(
    model: Model,
    clips: Clips,
    concepts: Concepts,
    *,
    score: str | Mapping[str, Score] | None = None,
    masks: int = 512,
    ratio: float = 0.5,
    estimator: str = "contrast",
    key: jax.Array,
    target: str | int | None = None,
    reference: Reference = "true",
    chunk: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Ranks concepts by random masking.

    concepts: found on, or assigned to, the same clips.  score: the name to rank by, or one own function by name.
    masks:    passes per clip.  ratio: share of concepts removed in each.
    estimator: "contrast", "paper" or "released" (see ``estimators``).  target: class for all clips, default each
    clip's own predicted class.  reference: which mask a tracker is scored by (see ``find_targets``).  key: seed.
    Raises InputError for unknown names and bad numbers.
    """
    score = default_scores(model)[0] if score is None else score
    targets = find_targets(model, clips, target=target, reference=reference)
    support = Support(concepts.ids, len(concepts))
    design = Random(key, masks, ratio, players_of(estimator))
    found = run_scores(model, clips, support, design, score=score, targets=targets, chunk=chunk, progress=progress)
    baseline = baselines(model, clips, support, score, targets)
    name = next(iter(score_functions(score)))
    return importance_from_scores(name, estimator, design, ratio, found[name], baseline[name], clips, support.present())


def players_of(estimator: str) -> str:
    """The originals keep absent concepts as players; our contrast draws among the present ones."""
    return "present" if estimator == "contrast" else "all"


def baselines(
    model: Model,
    clips: Clips,
    support: Support,
    score: str | Sequence[str] | Mapping[str, Score],
    targets: Targets,
) -> dict[str, np.ndarray]:
    """name -> float64 [video]: scores with nothing removed."""
    nothing = np.ones((1, support.concepts), np.float32)
    found = run_scores(model, clips, support, nothing, score=score, targets=targets, chunk=1)
    return {name: values[:, 0].astype(np.float64) for name, values in found.items()}


def importance_from_scores(
    score: str,
    estimator: str,
    design: Design,
    ratio: float,
    scores: np.ndarray,
    baseline: np.ndarray,
    clips: Clips,
    present: np.ndarray,
) -> Importance:
    """Importance from scores [video, mask] that a design made; draws its rows again, clip by clip."""
    values, variances = np.zeros(present.shape), np.zeros(present.shape)
    for video in range(len(scores)):
        kept = design.rows(clips.hashes[video], 0, design.masks, present[video])
        values[video], variances[video] = per_clip(estimator, scores[video], kept, baseline[video])
    return combine(
        score,
        estimator,
        type(design).__name__.lower(),
        ratio,
        scores.shape[1],
        values,
        variances,
        present,
        baseline,
    )


def combine(
    score: str,
    estimator: str,
    design: str,
    ratio: float,
    masks: int,
    values: np.ndarray,
    variances: np.ndarray,
    present: np.ndarray,
    baseline: np.ndarray,
) -> Importance:
    """Importance over clips from each clip's values and variances [video, concept]."""
    clips = len(values)
    videos = present.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        over_present = np.where(videos > 0, (values * present).sum(0) / np.maximum(videos, 1), 0.0)
        spread = values.std(0, ddof=1) / np.sqrt(clips) if clips > 1 else np.full(values.shape[1], np.nan)
    return Importance(
        score=score,
        estimator=estimator,
        design=design,
        ratio=ratio,
        masks=masks,
        importance=values.mean(0),
        importance_present=over_present,
        videos=videos,
        per_video=values,
        present=present,
        se_masks=np.sqrt(variances.sum(0)) / clips,
        se_videos=spread,
        baseline=np.asarray(baseline, np.float64),
    )
