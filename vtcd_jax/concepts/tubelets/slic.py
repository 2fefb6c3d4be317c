"""SLIC supervoxels of feature volumes: the labels of scikit-image, many volumes at once.

A volume (all channels together) is scaled to [0, 1]; seeds lie on a regular grid; ten rounds assign each voxel to the
centre nearest in position and features (``slic_rounds``, on the device); small pieces are merged with a neighbour,
large ones split (scikit-image's own kernel, on the host). Achanta et al. (2012), "SLIC Superpixels Compared to
State-of-the-Art Superpixel Methods", TPAMI 34(11).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vtcd_jax.base.errors import InputError

from .initial_centres import Seeds, grid_seeds, masked_seeds
from .iterations import Axes, Start, segment_volumes
from .resampling import axis_matrices


def slic(
    volume: Float[Array | np.ndarray, "*batch time height width channel"],
    *,
    n_segments: int = 12,
    compactness: float = 0.1,
    min_size_factor: float = 0.5,
    max_size_factor: float = 3.0,
    mask: Bool[np.ndarray, "new_time new_height new_width"] | None = None,
    size: tuple[int, int, int] | None = None,
    upsample: str = "linear",
    connected: bool = True,
) -> Int[np.ndarray, "*batch new_time new_height new_width"]:
    """Segments volumes into compact, connected regions; int32 labels 0, 1, 2, … in raster order of first appearance.

    volume:      any number of leading axes; an image is a volume of time 1. Each is segmented by itself.
    n_segments:  requested number; the seeds are the regular grid nearest to it, so the result differs a little.
    compactness: weight of position against features; larger gives more regular regions.
    min_size_factor, max_size_factor: limits of a region, in units of the mean size per seed.
    mask:        the part of every volume to segment; the rest gets -1. Not together with ``size``.
    size:        (new_time, new_height, new_width): segment the volume interpolated to it, which is never made.
    upsample:    "linear" (trilinear, aligned corners) or "nearest".
    connected:   False leaves out the last step: labels are numbers of seeds, -1 where no window of a seed reaches.

    A constant volume is cut into the grid cells of the seeds. Labels do not depend on what else is in the batch. Raises
    InputError for NaN or infinite features, a mask of another shape or without a voxel, and ``mask`` with ``size``.
    """
    values = np.asarray(volume, np.float32)  # on the device every shape of every step below would be compiled
    batch, grid = values.shape[:-4], (values.shape[-4], values.shape[-3], values.shape[-2])
    _check(values, mask, grid, size)
    axes = None if size is None or tuple(size) == grid else Axes(*axis_matrices(size, grid, upsample))
    shape = grid if axes is None else (size[0], size[1], size[2])  # type: ignore[index]
    seeds = grid_seeds(shape, n_segments) if mask is None else masked_seeds(mask, n_segments)
    flat = values.reshape(-1, *values.shape[-4:])
    raw = raw_labels(flat, axes, seeds, compactness, mask)
    if connected:
        voxels = int(np.prod(shape)) if mask is None else int(mask.sum())
        share = voxels / len(seeds.centres)
        limits = int(min_size_factor * share), int(max_size_factor * share)
        raw = np.stack([connect(labels, *limits) for labels in raw]) if len(raw) else raw
    return raw.reshape(*batch, *shape)


def _check(values: np.ndarray, mask: np.ndarray | None, grid: tuple[int, ...], size: tuple[int, ...] | None) -> None:
    if mask is not None and size is not None and tuple(size) != grid:
        raise InputError(
            "slic takes a mask or a size, not both: interpolate first (vtcd_jax.concepts.tubelets.resampling.upsample)"
        )
    if mask is not None and (mask.shape != grid or not mask.any()):
        raise InputError(f"the mask must have the shape {grid} of a volume and a true voxel; got {mask.shape}")
    seen = values if mask is None else values[..., mask, :]
    if not np.isfinite(seen).all():
        raise InputError("features hold NaN or infinite values; check the weights and the clip")


def raw_labels(
    volumes: np.ndarray, axes: Axes | None, seeds: Seeds, compactness: float, mask: np.ndarray | None = None
) -> np.ndarray:
    """int32 [volume, time, height, width]: labels before the connectivity step."""
    weight = np.asarray(np.inf if seeds.scale == 0 else 1 / seeds.scale**2, np.float32)
    start = Start(seeds.centres, weight, np.asarray(seeds.windows, np.float32))
    return np.asarray(segment_volumes(volumes, axes, start, np.float32(compactness), mask))


def connect(
    labels: Int[np.ndarray, "time height width"], least: int, most: int
) -> Int[np.ndarray, "time height width"]:
    """Every label one connected region of ``least`` to ``most`` voxels, renumbered in raster order; -1 stays.

    A piece below ``least`` takes the label of the last finished neighbour its search met; one that reaches ``most``
    ends there. scikit-image's own kernel: the order of the search decides, so only the same search gives the same
    labels.
    """
    from skimage.segmentation._slic import _enforce_label_connectivity_cython

    joined = _enforce_label_connectivity_cython(labels.astype(np.intp), least, most, start_label=0)
    return np.asarray(joined, np.int32)
