"""Where SLIC starts: centres on a regular grid (or inside a mask), the scale of positions, and the search windows.

Two grids meet here, as in scikit-image: seeds lie on the grid for the *requested* number of segments, windows follow
the grid for the number of seeds that this gave. Achanta et al. (2012), §4.1; axes ``time height width``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Seeds(NamedTuple):
    """The start of SLIC.

    centres: float32 [seed, 3], positions (time, height, width) in voxels.
    scale:   float, the largest step of the grid in voxels; positions are divided by it. 0 for a single masked seed.
    windows: int [3], a centre is compared with voxels up to twice these steps away.
    """

    centres: np.ndarray
    scale: float
    windows: tuple[int, int, int]


def grid_seeds(shape: tuple[int, int, int], n_segments: int) -> Seeds:
    """Seeds on the regular grid nearest to ``n_segments`` points; their number may differ from it."""
    from skimage.util import regular_grid

    slices = regular_grid(shape, n_segments)
    axes = [np.arange(size)[s] for size, s in zip(shape, slices, strict=True)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    return Seeds(centres, float(max(_steps(slices))), _windows(shape, len(centres)))


def masked_seeds(mask: np.ndarray, n_segments: int) -> Seeds:
    """Seeds spread over a bool mask [time, height, width], drawn as scikit-image draws them (always the same)."""
    from skimage.segmentation.slic_superpixels import _get_mask_centroids

    centres, steps = _get_mask_centroids(mask, n_segments, multichannel=True)
    return Seeds(centres.astype(np.float32), float(max(steps)), _windows(mask.shape, len(centres)))


def _steps(slices: tuple[slice, ...]) -> list[int]:
    return [1 if s.step is None else int(s.step) for s in slices]


def _windows(shape: tuple[int, ...], seeds: int) -> tuple[int, int, int]:
    from skimage.util import regular_grid

    time, height, width = _steps(regular_grid(shape, seeds))
    return time, height, width
