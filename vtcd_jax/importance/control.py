"""The control of a run: random groups of tubelets, ranked and removed as the concepts are.

Whatever a method says about concepts, random groups of the same tubelets must do worse: here, removing the most
important ones first must hurt the score less. The groups are dealt anew on the held-out clips, so that all they can
carry over is the head they live in. Where the control does not fail, the run says so: its concepts are then not shown
to be more than regions of an important head.

    advantage   area of the random groups' curve - area of the concepts', most important first, per held-out clip
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.ablation.keys import Part
from vtcd_jax.base.statistics import half_width
from vtcd_jax.concepts import Concepts, random_groups
from vtcd_jax.data import Clips
from vtcd_jax.importance import Curves, Importance, Support, Targets, importance_from_scores
from vtcd_jax.pipeline.scoring import Progress, measure
from vtcd_jax.pipeline.settings import RunSettings
from vtcd_jax.pipeline.sources import Prepared
from vtcd_jax.runs import Run

from .cris import make_design
from .designs.random import nothing_removed, removal_order


@dataclass(frozen=True)
class Control:
    """Concepts beside random groups, for the first score.

    scores:     float64 [video, step], while the random groups are removed, at the steps and clips of the concepts'
    curve. area:       under its mean over clips.  masks: mean passes per clip that the groups were ranked with.
    advantage:  mean over clips; above 0, concepts are better.  half_width: of its 95 % interval; NaN with one clip.
    """

    scores: np.ndarray
    area: float
    masks: float
    advantage: float
    half_width: float

    @property
    def passed(self) -> bool:
        """Whether the random groups are worse beyond doubt, as they must be."""
        return self.advantage > self.half_width

    def line(self) -> str:
        """The verdict in a sentence."""
        between = f"{self.advantage:.3f}" + ("" if np.isnan(self.half_width) else f" ± {self.half_width:.3f} (95 %)")
        verdict = (
            "as it should" if self.passed
            else "NOT told apart: these concepts are not shown to be more than random groups of tubelets"
        )  # fmt: skip
        return f"control: removing random groups, most important first, leaves {between} more area; {verdict}"


def control_stage(
    run: Run,
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    here: Concepts,
    judged: Part,
    curves: Curves,
    key: jax.Array,
    progress: Progress | None = None,
) -> Control:
    """Ranks random groups on the ranked clips and draws their curve on the judged ones.

    here:   the concepts on the judged clips.  judged: those clips.  curves: of the concepts there.
    """
    dealing, dealing_here, masking = jax.random.split(key, 3)
    ranked = _rank(run, settings, prepared, random_groups(concepts, dealing), masking, progress)
    part = _part(judged.clips, random_groups(here, dealing_here), judged.targets)
    design = removal_order(ranked.order(), curves.removed)
    found = measure(run, "control-curve", settings, prepared, part, design, progress)[curves.score].astype(np.float64)
    gain = np.trapezoid(found - curves.scores[curves.orders.index("most-first")], curves.fraction, axis=-1)  # [video]
    clips = len(gain)
    error = np.array([gain.std(ddof=1) / np.sqrt(clips) if clips > 1 else np.nan])
    half = float(half_width(error, max(clips - 1, 1), 0.95)[0])
    area = float(np.trapezoid(found.mean(0), curves.fraction))
    return Control(found, area, float(ranked.masks.mean()), float(gain.mean()), half)


def _rank(
    run: Run, settings: RunSettings, prepared: Prepared, dealt: Concepts, key: jax.Array, progress: Progress | None
) -> Importance:
    """Importance of the random groups, with the design and estimator of the run."""
    name, estimator, score = settings.design_name, settings.estimator_name, prepared.scores[0]
    part, masks = _part(prepared.clips, dealt, prepared.targets), min(settings.masks, settings.control_masks)
    design = make_design(name, key, masks, concepts=dealt, ratio=settings.ratio, estimator=estimator)
    untouched = measure(run, "untouched", settings, prepared, part, nothing_removed(len(dealt)))
    found = measure(run, "control", settings, prepared, part, design, progress)
    return importance_from_scores(
        score, name, design, found[score], untouched[score][:, 0].astype(np.float64), part.clips.hashes,
        part.support.present(), estimator=estimator,
    )  # fmt: skip


def _part(clips: Clips, concepts: Concepts, targets: Targets) -> Part:
    return Part(clips, Support.of(concepts), targets)
