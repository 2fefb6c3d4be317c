"""The concepts that coincide best with true masks, beside both controls, from a run's two sets of clips.

For every true mask the concept with the highest mean IoU on the clips of discovery is taken and measured on the others.
The same is done with random centres and with random groups (``controls``), in every draw with as many as there are
concepts: the best of many random regions coincides with a mask to some extent, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.base.statistics import half_width
from vtcd_jax.data.clips import ClipSource
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.models import Model
from vtcd_jax.runs import Step, Work

from ..types import Concepts
from .controls import RandomCentres, nearest_centre, nearest_centres, random_centres
from .overlaps import LabelCounts, best_of, check_same_concepts, iou, label_counts, random_kept

OVERLAPS = Step("overlaps", "overlap with masks", "mask")


def upper(draws: np.ndarray) -> float:
    """The 95 % quantile over draws of a control."""
    return float(np.quantile(draws, 0.95))


@dataclass(frozen=True, eq=False)
class MaskOverlap:
    """The concept chosen on some clips for its overlap with a true mask, measured on others, beside the controls.

    mask: its name.  concept: id.  miou, se: mean IoU with its standard error over ``clips``, those that have the mask.
    centres, groups: float64 [draw], mean IoU of the best of as many random centres, and of as many random groups of
                     tubelets, chosen the same way.
    """

    mask: str
    concept: int
    miou: float
    se: float
    centres: np.ndarray
    groups: np.ndarray
    clips: int

    @property
    def half_width(self) -> float:
        """Of the 95 % interval of ``miou``; NaN with one clip."""
        return float(half_width(self.se, self.clips - 1, 0.95)) if self.clips > 1 else float("nan")


def best_overlaps(
    model: Model,
    choosing: Concepts,
    choosing_clips: ClipSource,
    judging: Concepts,
    judging_clips: ClipSource,
    *,
    draws: int,
    key: Seed,
    work: Work = Work(),
) -> tuple[MaskOverlap, ...]:
    """``best_overlap`` and its controls for every true mask that both sets of clips have, but those that are empty in
    all clips of a set.

    choosing: as ``discover`` gave them.  clips: of each set, in the order of its concepts.
    draws: of random centres and of random groups.  key: their seed.  model: is run for concepts of tokens alone.
    Raises InputError for other clips than those of the concepts.
    """
    check_same_concepts(choosing, judging)
    sets = ((choosing, choosing_clips), (judging, judging_clips))
    for concepts, own in sets:
        check_same_clips("concepts", concepts.video_hashes, own, "use `assign` to find them in these clips")
    names = [name for name in choosing_clips.mask_names if name in judging_clips.mask_names]
    if not names:
        return ()
    work.progress(OVERLAPS, 0, len(names) + 1)
    key = as_key(key)
    centres = [random_centres(choosing, jax.random.fold_in(key, draw)) for draw in range(draws)]
    dealt = [_of_centres(model, concepts, clips, centres, names) for concepts, clips in sets]
    rows = []
    for done, name in enumerate(names, 1):
        work.progress(OVERLAPS, done, len(names) + 1)
        counts = tuple(label_counts(concepts, _masks(clips, name)) for concepts, clips in sets)
        if all(each.mask.any() for each in counts):
            rows.append(_row(name, (choosing, judging), counts, [each[name] for each in dealt], draws, key))
        work.progress(OVERLAPS, done + 1, len(names) + 1)
    return tuple(rows)


def _row(
    name: str,
    sets: tuple[Concepts, Concepts],
    counts: tuple[LabelCounts, ...],
    dealt: list[np.ndarray],
    draws: int,
    key: jax.Array,
) -> MaskOverlap:
    """dealt: of each set, float64 [draw, video, concept], IoU of random centres."""
    first, second = counts
    best = best_of(iou(sets[0], sets[0].assignment, first), iou(sets[1], sets[1].assignment, second))
    centres = np.array([best_of(*pair).held_out for pair in zip(*dealt, strict=True)])
    groups = random_kept(sets, (first, second), draws, key, "head")
    return MaskOverlap(
        name, best.concept, best.held_out, best.se, centres, groups, int(np.isfinite(best.per_video).sum())
    )


def _of_centres(
    model: Model, concepts: Concepts, clips: ClipSource, centres: Sequence[RandomCentres], names: Sequence[str]
) -> dict[str, np.ndarray]:
    """mask -> float64 [draw, video, concept], IoU of the regions of each draw's centres, one clip at a time; nan where
    the mask is empty."""
    found = {name: np.zeros((len(centres), len(clips), len(concepts))) for name in names}
    if concepts.centres is None:
        dealt = [(replace(concepts, parent=one.parent), nearest_centre(concepts, one)) for one in centres]
        for name in names:
            counts = label_counts(concepts, _masks(clips, name))
            found[name][:] = [iou(tree, assignment, counts) for tree, assignment in dealt]
        return found
    for video in range(len(clips)):
        one, masks = clips[[video]], clips.read([video]).masks
        for draw, regions in enumerate(nearest_centres(model, one, concepts, centres)):
            for name in names:
                found[name][draw, video] = iou(regions, regions.assignment, label_counts(regions, masks[name]))[0]
    return found


def _masks(clips: ClipSource, name: str) -> Iterator[np.ndarray]:
    """A true mask of each clip, bool [time, height, width], one in memory at a time."""
    return (clips.read([video]).masks[name][0] for video in range(len(clips)))
