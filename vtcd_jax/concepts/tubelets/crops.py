"""Random space-time crops: the baseline that a claim about tubelets is measured against.

The paper compares tubelets with the random crops of CRAFT and ConceptSHAP and gives neither their number nor their
size. Ours differ from tubelets in one thing only: they do not look at the features. A clip is cut into as many boxes as
SLIC was asked for segments. Again and again the largest box is cut in two, across an axis drawn with probability
proportional to its length in units of the clip's, at a place drawn evenly between a quarter and three quarters of the
box. The boxes tile the clip, like tubelets; with 12 of them the largest is usually three to five times the smallest.
Every head draws its own.

Kowal et al. (2024), VTCD, table 1; Fel et al. (2023), "CRAFT", CVPR, §3.2; Yeh et al. (2020), "On Completeness-aware
Concept-Based Explanations", NeurIPS.
"""

from __future__ import annotations

import zlib

import numpy as np
from jaxtyping import Int


def random_crops(
    size: tuple[int, int, int], count: int, seed: tuple[int | str, ...]
) -> Int[np.ndarray, "time height width"]:
    """int32 labels 0 … ``count`` - 1 of boxes that tile a volume, in raster order of first appearance; fewer when the
    volume has fewer voxels. Equal seeds give equal boxes.
    """
    rng = np.random.default_rng([zlib.crc32(str(part).encode()) for part in seed])
    boxes = [((0, 0, 0), size)]
    while len(boxes) < count:
        largest = max(range(len(boxes)), key=lambda i: _voxels(boxes[i]))
        if _voxels(boxes[largest]) == 1:
            break
        boxes += _cut(boxes.pop(largest), size, rng)
    labels = np.empty(size, np.int32)
    for label, (start, stop) in enumerate(sorted(boxes)):
        labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = label
    return labels


Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""First and past-the-last voxel along time, height and width."""


def _voxels(box: Box) -> int:
    return int(np.prod(np.subtract(box[1], box[0])))


def _cut(box: Box, size: tuple[int, int, int], rng: np.random.Generator) -> list[Box]:
    start, stop = box
    lengths = np.subtract(stop, start)
    chance = np.where(lengths > 1, lengths / np.asarray(size), 0)
    axis = int(rng.choice(3, p=chance / chance.sum()))
    place = start[axis] + int(np.clip(round(lengths[axis] * rng.uniform(0.25, 0.75)), 1, lengths[axis] - 1))
    return [(start, _moved(stop, axis, place)), (_moved(start, axis, place), stop)]


def _moved(corner: tuple[int, int, int], axis: int, place: int) -> tuple[int, int, int]:
    time, height, width = (place if i == axis else value for i, value in enumerate(corner))
    return time, height, width
