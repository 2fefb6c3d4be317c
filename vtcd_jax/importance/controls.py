"""Controls of a ranking: groups that nothing was learned for, ranked and removed in the same way as the concepts.

    random centres   as many random tubelets (or tokens) of each head as centres, carried over to the evaluation clips
                     as concepts are: what a dictionary must be better than
    random groups    random groups of tubelets, drawn again on other evaluation clips: only their head is the same

If concepts are meaningful, removing the groups of a control, most important first, must reduce the score less. If
random centres are not worse, learning the dictionary added nothing to clusters at random places. If random groups are
not worse, the concepts may be no more than regions of an important head.

    advantage   area of the control's curve - area of the concepts', most important first, per evaluation clip
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
from vtcd_jax.concepts import Concepts, nearest_centres, random_centres, random_groups
from vtcd_jax.data import ClipSource
from vtcd_jax.models import Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores import Targets, score_functions

from .cris import importance_from_scores
from .curves import Curves, leaves_of
from .measure import measure
from .named_designs import make_design, sloped_scores

CENTRES, GROUPS = KINDS = ("random centres", "random groups")
STEPS = {  # ranking, curve
    CENTRES: (Step("centres", "random centres", "pass"), Step("centres-curve", "centres, curve", "pass")),
    GROUPS: (Step("groups", "random groups", "pass"), Step("groups-curve", "groups, curve", "pass")),
}


@dataclass(frozen=True)
class Control:
    """Concepts compared with one kind of random groups, for one score.

    kind:       one of ``KINDS``.
    scores:     float64 [video, step], while the groups are removed, for the steps and clips of the concepts' curve.
    area:       under the mean of ``scores`` over clips.
    masks:      mean passes per clip for ranking the groups.
    advantage:  mean over clips; positive if concepts are better.
    half_width: of its 95 % interval; NaN with one clip.
    """

    kind: str
    scores: np.ndarray
    area: float
    masks: float
    advantage: float
    half_width: float

    @property
    def passed(self) -> bool:
        """Whether the control is significantly worse (the 95 % interval of the advantage is above 0)."""
        return self.advantage > self.half_width

    def line(self) -> str:
        """The result in one sentence."""
        margin = f"{self.advantage:.3f}" + ("" if np.isnan(self.half_width) else f" ± {self.half_width:.3f} (95 %)")
        missing = {
            CENTRES: "these concepts are not shown to be better than random centres",
            GROUPS: "these concepts are not shown to be better than random groups",
        }
        verdict = "control passed" if self.passed else f"NOT significantly different: {missing[self.kind]}"
        return f"control: removing {self.kind}, most important first, leaves {margin} more area; {verdict}"


@dataclass(frozen=True)
class Sample:
    """Clips, their concepts and their targets."""

    clips: ClipSource
    concepts: Concepts
    targets: Targets


def controls(
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
) -> tuple[Control, ...]:
    """For each of ``KINDS``: ranks its groups on the ranked clips and draws their curve on the evaluated ones.

    ranked:    the concepts as ``discover`` gave them.
    evaluated: the same concepts on other clips, or the ranked ones; then both curves are of the same groups.
    curves:    of the concepts on the evaluated clips; its score is the one to rank by.
    baseline:  float64 [video], that score of the ranked clips with nothing removed.
    masks:     passes per clip, at most.
    score:     scores to measure in the same passes; None: that of ``curves``.
    The other arguments are as for ``cris``.
    """
    groups_key, masks_key = jax.random.split(as_key(key))
    settings = {"mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype, "work": work}
    names, found = score or curves.score, []
    sloped = len(sloped_scores(design, score_functions(names)))
    for kind in KINDS:
        known, new = _dealt(kind, model, ranked, evaluated, groups_key, work)
        masking = make_design(design, masks_key, masks, concepts=known, ratio=ratio, estimator=estimator, sloped=sloped)
        support = Support.of(known)
        own = measure(
            model, ranked.clips, support, masking, targets=ranked.targets, step=STEPS[kind][0], score=names, **settings
        )[curves.score]
        importance = importance_from_scores(
            curves.score, design, own.design, own.values, baseline, ranked.clips.hashes, support.present(),
            estimator=estimator,
        )  # fmt: skip
        removals = removal_order(leaves_of(importance.order(), known.members), curves.removed, len(known))
        passes = scores(
            model, evaluated.clips, Support.of(new), removals, targets=evaluated.targets, step=STEPS[kind][1],
            score=names, **settings,
        )  # fmt: skip
        found.append(_compared(kind, curves, passes[curves.score].astype(np.float64), float(importance.masks.mean())))
    return tuple(found)


def _dealt(
    kind: str, model: Model, ranked: Sample, evaluated: Sample, key: jax.Array, work: Work
) -> tuple[Concepts, Concepts]:
    """A control's groups on the ranked and on the evaluated clips; the same ones where these are the same clips."""
    same = ranked.clips.hashes == evaluated.clips.hashes
    if kind == CENTRES:
        centres = random_centres(ranked.concepts, key)
        known = nearest_centres(model, ranked.clips, ranked.concepts, [centres], work=work)[0]
        return known, known if same else nearest_centres(
            model, evaluated.clips, evaluated.concepts, [centres], work=work
        )[0]
    first, second = jax.random.split(key)
    known = random_groups(ranked.concepts, first)
    return known, known if same else random_groups(evaluated.concepts, second)


def _compared(kind: str, curves: Curves, removed: np.ndarray, masks: float) -> Control:
    """removed: float64 [video, step], scores while a control's groups are removed, most important first."""
    gain = np.trapezoid(removed - curves.scores[curves.orders.index("most-first")], curves.fraction, axis=-1)  # [video]
    clips = len(gain)
    error = np.array([gain.std(ddof=1) / np.sqrt(clips) if clips > 1 else np.nan])
    half = float(half_width(error, max(clips - 1, 1), 0.95)[0])
    area = float(np.trapezoid(removed.mean(0), curves.fraction))
    return Control(kind, removed, area, masks, float(gain.mean()), half)
