"""How well concepts coincide with true masks, and the control: groups of tubelets drawn at random.

    IoU of a concept in a clip = |support ∩ mask| / |support ∪ mask| over all voxels of the clip

The support is compared at the resolution of the mask, to which SLIC labels are resized by nearest neighbour.
Choose on one set of clips, judge on another: ``best_overlap``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.data.clips import ClipSource
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.runs import Step, Work

from .controls import shuffled_assignment
from .tubelets.pooling import cell_counts
from .tubelets.resampling import nearest_index
from .types import Concepts

OVERLAPS = Step("overlaps", "overlap with masks", "mask")


@dataclass(frozen=True, eq=False)
class Overlap:
    """The concept that overlaps most with a mask on one set of clips, and what it keeps on another.

    concept:  its id.
    chosen:   float, its mean IoU on the clips it was chosen on.
    held_out: float, its mean IoU on the other clips; se its standard error over them.
    per_video: float64 [video], its IoU on each of the other clips; nan where their mask is empty.
    """

    concept: int
    chosen: float
    held_out: float
    se: float
    per_video: np.ndarray


def overlap(concepts: Concepts, masks: np.ndarray) -> np.ndarray:
    """IoU of every concept with a mask in every clip: float64 [video, concept].

    masks: bool [video, time, height, width], any resolution. An absent concept has IoU 0; a clip with an
           empty mask is
    nan. Raises InputError when the number of clips differs.
    """
    return _iou(concepts, concepts.assignment, label_counts(concepts, masks))


class LabelCounts(NamedTuple):
    """Voxels of each SLIC label, at the masks' resolution.

    inside, size: float64 [video, site, head, 256], inside the mask and in all.  mask: float64 [video], of the mask.
    """

    inside: np.ndarray
    size: np.ndarray
    mask: np.ndarray


def label_counts(concepts: Concepts, masks: np.ndarray | Iterable[np.ndarray]) -> LabelCounts:
    """What an overlap needs to know of labels and masks; the same for every grouping of the tubelets.

    masks: bool [video, time, height, width], or each clip's [time, height, width] one after the other.
    """
    if isinstance(masks, np.ndarray) and (masks.ndim != 4 or len(masks) != concepts.videos):
        raise InputError(f"masks must be [{concepts.videos}, time, height, width]; got {list(masks.shape)}")
    heads = max(concepts.labels.heads(site) for site in concepts.sites)
    inside = np.zeros((concepts.videos, len(concepts.sites), heads, 256))
    size, total = np.zeros_like(inside), np.zeros(concepts.videos)
    for video, mask in zip(range(concepts.videos), masks, strict=True):
        mask = np.asarray(mask, bool)
        inside[video], size[video] = _counts(concepts, video, mask)
        total[video] = mask.sum()
    return LabelCounts(inside, size, total)


def _iou(concepts: Concepts, assignment: np.ndarray, counts: LabelCounts) -> np.ndarray:
    """IoU [video, concept] when the tubelets are grouped by ``assignment``; nan where the mask is empty."""
    both = np.zeros((concepts.videos, len(concepts)))
    own = np.zeros_like(both)
    t = concepts.tubelets
    where = (t.video, t.site, t.head, t.label)
    np.add.at(both, (t.video, assignment), counts.inside[where])
    np.add.at(own, (t.video, assignment), counts.size[where])
    total = counts.mask[:, None]
    return np.where(total > 0, both / np.maximum(own + total - both, 1), np.nan)


def _counts(concepts: Concepts, video: int, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of each label of a clip inside the mask, and in all: float64 [site, head, 256], at the mask's
    resolution.

    Counts per SLIC voxel how many voxels of the mask's grid copy it; summing those equals resizing the labels.
    """
    heads = max(concepts.labels.heads(site) for site in concepts.sites)
    inside = np.zeros((len(concepts.sites), heads, 256))
    size = np.zeros_like(inside)
    grids = set(concepts.slic_grid.values())
    copies = {grid: _copies(mask.shape, grid).ravel() for grid in grids}
    hits = {grid: cell_counts(mask, grid).ravel() for grid in grids}
    for s, site in enumerate(concepts.sites):
        grid = concepts.slic_grid[site]
        for head in range(concepts.labels.heads(site)):
            labels = concepts.labels.volume(site, video, head).ravel()
            inside[s, head] = np.bincount(labels, weights=hits[grid], minlength=256)
            size[s, head] = np.bincount(labels, weights=copies[grid], minlength=256)
    return inside, size


def _copies(fine: tuple[int, ...], coarse: tuple[int, ...]) -> np.ndarray:
    """How many voxels of the fine grid copy each voxel of the coarse one in nearest-neighbour resizing."""
    t, h, w = (np.bincount(nearest_index(f, c), minlength=c) for f, c in zip(fine, coarse, strict=True))
    return (t[:, None, None] * h[:, None] * w).astype(np.float64)


def best_overlap(
    choosing: Concepts, choosing_masks: np.ndarray, judging: Concepts, judging_masks: np.ndarray
) -> Overlap:
    """Takes the concept with the highest mean IoU on one set of clips and measures it on another.

    Both must hold the same concepts (as ``assign`` gives them, or ``random_groups`` of both). Clips whose
    mask is empty do not count. Raises InputError when the concepts differ or every mask of a set is empty.
    """
    _check_same_concepts(choosing, judging)
    return _best(overlap(choosing, choosing_masks), overlap(judging, judging_masks))


def _check_same_concepts(choosing: Concepts, judging: Concepts) -> None:
    """Raises InputError for concepts that differ, though they may have the same names."""
    if choosing.names != judging.names or not np.array_equal(choosing.dictionary, judging.dictionary):
        raise InputError("the two sets hold different concepts; use `assign` for the second")


def _best(first: np.ndarray, second: np.ndarray) -> Overlap:
    """The concept with the highest mean IoU in ``first`` [video, concept], and what it has in ``second``."""
    for name, values in (("choosing", first), ("judging", second)):
        if np.isnan(values).all():
            raise InputError(f"every mask of the {name} clips is empty")
    means = np.nanmean(first, axis=0)
    concept = int(means.argmax())
    kept = second[:, concept]
    count = int((~np.isnan(kept)).sum())
    se = float(np.nanstd(kept, ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return Overlap(concept, float(means[concept]), float(np.nanmean(kept)), se, kept)


def random_overlaps(
    choosing: Concepts,
    choosing_masks: np.ndarray,
    judging: Concepts,
    judging_masks: np.ndarray,
    *,
    draws: int,
    key: Seed,
    within: str = "head",
) -> np.ndarray:
    """The control of ``best_overlap``: float64 [draw], mean IoU kept by the best of as many random groups.

    In every draw both sets are grouped at random (see ``random_groups``), the best group is chosen on the first and
    judged on the second.
    """
    _check_same_concepts(choosing, judging)
    counts = (label_counts(choosing, choosing_masks), label_counts(judging, judging_masks))
    return _random((choosing, judging), counts, draws, as_key(key), within)


def _random(
    sets: tuple[Concepts, Concepts], counts: tuple[LabelCounts, LabelCounts], draws: int, key: jax.Array, within: str
) -> np.ndarray:
    """float64 [draw]: what ``random_overlaps`` gives."""
    kept = []
    for i in range(draws):
        keys = (jax.random.fold_in(key, 2 * i), jax.random.fold_in(key, 2 * i + 1))
        groups = [shuffled_assignment(c, k, within) for c, k in zip(sets, keys, strict=True)]
        kept.append(_best(*(_iou(c, g, n) for c, g, n in zip(sets, groups, counts, strict=True))).held_out)
    return np.array(kept)


@dataclass(frozen=True, eq=False)
class MaskOverlap:
    """The concept chosen on some clips for its overlap with a true mask, measured on others, beside random groups.

    mask: its name.  concept: id.  miou, se: mean IoU with its standard error.
    random: float64 [draw], mean IoU of the best of as many random groups of tubelets, chosen the same way.
    """

    mask: str
    concept: int
    miou: float
    se: float
    random: np.ndarray

    @property
    def random_95(self) -> float:
        """The 95 % quantile over draws."""
        return float(np.quantile(self.random, 0.95))


def best_overlaps(
    choosing: Concepts,
    choosing_clips: ClipSource,
    judging: Concepts,
    judging_clips: ClipSource,
    *,
    draws: int,
    key: Seed,
    work: Work = Work(),
) -> tuple[MaskOverlap, ...]:
    """``best_overlap`` and its control for every true mask that both sets of clips have, but those that are empty in
    all clips of a set.

    clips: of each set, in the order of its concepts.  draws: of the random groups.  key: seed of the draws.
    Raises InputError for other clips than those of the concepts.
    """
    _check_same_concepts(choosing, judging)
    sets, clips = (choosing, judging), (choosing_clips, judging_clips)
    for concepts, own in zip(sets, clips, strict=True):
        check_same_clips("concepts", concepts.video_hashes, own, "use `assign` to find them in these clips")
    names = [name for name in choosing_clips.mask_names if name in judging_clips.mask_names]
    rows = []
    for done, name in enumerate(names):
        work.progress(OVERLAPS, done, len(names))
        counts = (
            label_counts(choosing, _masks(choosing_clips, name)),
            label_counts(judging, _masks(judging_clips, name)),
        )
        if all(each.mask.any() for each in counts):
            best = _best(*(_iou(c, c.assignment, n) for c, n in zip(sets, counts, strict=True)))
            random = _random(sets, counts, draws, as_key(key), "head")
            rows.append(MaskOverlap(name, best.concept, best.held_out, best.se, random))
        work.progress(OVERLAPS, done + 1, len(names))
    return tuple(rows)


def _masks(clips: ClipSource, name: str) -> Iterator[np.ndarray]:
    """A true mask of each clip, bool [time, height, width], one in memory at a time."""
    return (clips.read([video]).masks[name][0] for video in range(len(clips)))
