"""How well concepts coincide with true masks, and the control: groups of tubelets drawn at random.

    IoU of a concept in a clip = |support ∩ mask| / |support ∪ mask| over all voxels of the clip

The support is compared at the resolution of the mask, to which SLIC labels are resized by nearest neighbour.
Choose on one set of clips, judge on another: ``best_overlap``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key

from ..tubelets.pooling import cell_counts
from ..tubelets.resampling import nearest_index
from ..types import Concepts
from .controls import shuffled_assignment


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
    return iou(concepts, concepts.assignment, label_counts(concepts, masks))


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


def iou(concepts: Concepts, assignment: np.ndarray, counts: LabelCounts) -> np.ndarray:
    """IoU [video, concept] when the tubelets are grouped by ``assignment``; nan where the mask is empty."""
    both = np.zeros((concepts.videos, concepts.leaves))
    own = np.zeros_like(both)
    t = concepts.tubelets
    where = (t.video, t.site, t.head, t.label)
    np.add.at(both, (t.video, assignment), counts.inside[where])
    np.add.at(own, (t.video, assignment), counts.size[where])
    both, own = both @ concepts.members.T, own @ concepts.members.T  # a node's leaves do not overlap
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
    check_same_concepts(choosing, judging)
    return best_of(overlap(choosing, choosing_masks), overlap(judging, judging_masks))


def check_same_concepts(choosing: Concepts, judging: Concepts) -> None:
    """Raises InputError for concepts that differ, though they may have the same names."""
    if choosing.names != judging.names or not np.array_equal(choosing.dictionary, judging.dictionary):
        raise InputError("the two sets hold different concepts; use `assign` for the second")


def best_of(first: np.ndarray, second: np.ndarray) -> Overlap:
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
    check_same_concepts(choosing, judging)
    counts = (label_counts(choosing, choosing_masks), label_counts(judging, judging_masks))
    return random_kept((choosing, judging), counts, draws, as_key(key), within)


def random_kept(
    sets: tuple[Concepts, Concepts], counts: tuple[LabelCounts, LabelCounts], draws: int, key: jax.Array, within: str
) -> np.ndarray:
    """float64 [draw]: what ``random_overlaps`` gives."""
    kept = []
    for i in range(draws):
        keys = (jax.random.fold_in(key, 2 * i), jax.random.fold_in(key, 2 * i + 1))
        groups = [shuffled_assignment(c, k, within) for c, k in zip(sets, keys, strict=True)]
        kept.append(best_of(*(iou(c, g, n) for c, g, n in zip(sets, groups, counts, strict=True))).held_out)
    return np.array(kept)
