"""The control of a ranking: random groups of tubelets, ranked and removed in the same way as the concepts.

If concepts are meaningful, removing random groups of the same tubelets, most important first, must reduce the score
less. The groups are drawn again on the evaluation clips, so that only their head is the same as on the ranked clips. If
the control is not worse, the concepts may be no more than regions of an important head.

    advantage   area of the random groups' curve - area of the concepts', most important first, per evaluation clip
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation import Support, removal_order, scores
from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.base.statistics import half_width
from vtcd_jax.concepts import Concepts, random_groups
from vtcd_jax.data import ClipSource
from vtcd_jax.models import Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores import Targets, score_functions

from .cris import importance_from_scores
from .curves import Curves
from .measure import measure
from .named_designs import make_design, smooth_scores

CONTROL, CONTROL_CURVE = Step("control", "control", "pass"), Step("control-curve", "control curve", "pass")


@dataclass(frozen=True)
class Control:
    """Concepts compared with random groups, for one score.

    scores:     float64 [video, step], while random groups are removed, for the steps and clips of the concepts' curve.
    area:       under the mean of ``scores`` over clips.
    masks:      mean passes per clip for ranking the groups.
    advantage:  mean over clips; positive if concepts are better.
    half_width: of its 95 % interval; NaN with one clip.
    """

    scores: np.ndarray
    area: float
    masks: float
    advantage: float
    half_width: float

    @property
    def passed(self) -> bool:
        """Whether random groups are significantly worse (the 95 % interval of the advantage is above 0)."""
        return self.advantage > self.half_width

    def line(self) -> str:
        """The result in one sentence."""
        margin = f"{self.advantage:.3f}" + ("" if np.isnan(self.half_width) else f" ± {self.half_width:.3f} (95 %)")
        verdict = (
            "control passed" if self.passed
            else "NOT significantly different: these concepts are not shown to be more than random groups of tubelets"
        )  # fmt: skip
        return f"control: removing random groups, most important first, leaves {margin} more area; {verdict}"


@dataclass(frozen=True)
class Sample:
    """Clips, their concepts and their targets."""

    clips: ClipSource
    concepts: Concepts
    targets: Targets


def control(
    model: Model,
    ranked: Sample,
    evaluated: Sample,
    curves: Curves,
    baseline: np.ndarray,
    *,
    design: str,
    masks: int,
    ratio: float = 0.5,
    estimator: str | None = None,
    key: Seed,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    score: str | Sequence[str] | None = None,
    work: Work = Work(),
) -> Control:
    """Ranks random groups on the ranked clips and draws their curve on the evaluated ones.

    curves:   of the concepts on the evaluated clips; its score is the one to rank by.
    baseline: float64 [video], that score of the ranked clips with nothing removed.
    masks:    passes per clip, at most.
    score:    scores to measure in the same passes; None: that of ``curves``.
    The other arguments are as for ``cris``.
    """
    groups_key, evaluated_key, masks_key = jax.random.split(as_key(key), 3)
    settings = {
        "score": score or curves.score,
        "mode": mode,
        "chunk": chunk,
        "mesh": mesh,
        "dtype": dtype,
        "work": work,
    }
    groups = random_groups(ranked.concepts, groups_key)
    smooth = len(smooth_scores(score_functions(settings["score"])))
    masking = make_design(design, masks_key, masks, concepts=groups, ratio=ratio, estimator=estimator, smooth=smooth)
    support = Support.of(groups)
    found = measure(model, ranked.clips, support, masking, targets=ranked.targets, step=CONTROL, **settings)
    own = found[curves.score]
    importance = importance_from_scores(
        curves.score, design, own.design, own.values, baseline, ranked.clips.hashes, support.present(),
        estimator=estimator,
    )  # fmt: skip
    support = Support.of(random_groups(evaluated.concepts, evaluated_key))
    removals = removal_order(importance.order(), curves.removed)
    passes = scores(
        model, evaluated.clips, support, removals, targets=evaluated.targets, step=CONTROL_CURVE, **settings
    )
    removed = passes[curves.score].astype(np.float64)
    gain = np.trapezoid(removed - curves.scores[curves.orders.index("most-first")], curves.fraction, axis=-1)  # [video]
    clips = len(gain)
    error = np.array([gain.std(ddof=1) / np.sqrt(clips) if clips > 1 else np.nan])
    half = float(half_width(error, max(clips - 1, 1), 0.95)[0])
    area = float(np.trapezoid(removed.mean(0), curves.fraction))
    return Control(removed, area, float(importance.masks.mean()), float(gain.mean()), half)
