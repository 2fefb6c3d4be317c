"""Tubelets: the segments of a feature volume, each with the average of the features inside it.

    volume [time height width channel]   upsampled features       labels [time height width]   SLIC labels
    feature of a tubelet = mean of the volume over its voxels      (Kowal et al. 2024, eq. 1)

Token masks come from labels by picking, for each token, the voxel at floor(i · fine / coarse), its first one.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from vtcd_jax.base.errors import InputError

from .iterations import Axes, spread
from .resampling import axis_matrices, nearest_index


def pool(
    volume: Float[Array | np.ndarray, "t h w channel"],
    labels: Int[np.ndarray, "time height width"],
    *,
    pooling: str = "mean",
    min_fraction: float = 0.001,
    upsample: str = "linear",
) -> tuple[Int[np.ndarray, "tubelet"], Int[np.ndarray, "tubelet"], Float[np.ndarray, "tubelet channel"]]:
    """Label, size in voxels and float32 feature of every tubelet of one volume, in the order of the labels.

    volume:       features at the resolution of the labels, or coarser ones that are taken as if interpolated to it.
    labels:       -1 belongs to no tubelet.
    pooling:      "mean" over the tubelet's voxels, or "released-volume": the sum over the volume's number of voxels.
    min_fraction: tubelets that cover less of the volume are dropped.
    upsample:     "linear" or "nearest", for coarser volumes.
    Raises InputError for another pooling, or for more than 255 labels.
    """
    if pooling not in ("mean", "released-volume"):
        raise InputError(f"pooling must be mean or released-volume; got {pooling!r}")
    count = int(labels.max()) + 1
    if count > 255:
        raise InputError(f"{count} segments in one volume; ask for fewer (n_segments)")
    axes = None if volume.shape[:3] == labels.shape else Axes(*axis_matrices(labels.shape, volume.shape[:3], upsample))
    sizes = np.bincount(labels[labels >= 0], minlength=count)
    padded = max(16, 1 << (count - 1).bit_length())  # few shapes, few compilations
    sums = np.asarray(label_sums(volume, labels, axes, count=padded))[:count]
    divisor = np.maximum(sizes, 1)[:, None] if pooling == "mean" else labels.size
    kept = np.flatnonzero((sizes > 0) & (sizes >= min_fraction * labels.size))
    features = (sums / divisor).astype(np.float32)
    return kept.astype(np.int32), sizes[kept].astype(np.int32), features[kept]


@partial(jax.jit, static_argnames="count")
def label_sums(
    volume: Float[Array, "t h w channel"], labels: Int[Array, "time height width"], axes: Axes | None, *, count: int
) -> Float[Array, "label channel"]:
    """Sum of the volume, interpolated along ``axes``, over the voxels of each of ``count`` labels: frame by frame,
    which keeps float32 sums short."""
    member = (labels == jnp.arange(count)[:, None, None, None]).astype(volume.dtype)
    with jax.default_matmul_precision("highest"):
        weight = member if axes is None else spread(member, axes)[0]
        return jnp.einsum("kthw,thwc->tkc", weight, volume).sum(0)


def resize_labels(
    labels: Shaped[np.ndarray, "time height width"], size: tuple[int, int, int], rule: str = "nearest"
) -> Shaped[np.ndarray, "new_time new_height new_width"]:
    """Labels on a finer or coarser grid.

    rule: "nearest" (each new cell takes the label at floor(i · old / new)), or "majority" (the label that
          most voxels of
    a cell have, the lowest among equals; for coarser grids only).
    """
    if rule not in ("nearest", "majority"):
        raise InputError(f"the rule for the token grid must be nearest or majority; got {rule!r}")
    if rule == "nearest":
        return labels[np.ix_(*(nearest_index(new, old) for new, old in zip(size, labels.shape, strict=True)))]
    if any(new > old for new, old in zip(size, labels.shape, strict=True)):
        raise InputError(f"majority needs a grid no finer than {labels.shape}; got {tuple(size)}")
    votes = np.stack([cell_counts(labels == label, size) for label in range(int(labels.max()) + 1)])
    return votes.argmax(0).astype(labels.dtype)


def cell_counts(mask: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    """How many true voxels of ``mask`` lie in each cell of a grid of ``size``, float64.

    Voxel i belongs to cell floor(i · size / voxels): the cell it would copy from in nearest-neighbour
    resizing.
    """
    counts = mask.astype(np.float64)
    for axis, cells in enumerate(size):
        member = nearest_index(mask.shape[axis], cells)[None] == np.arange(cells)[:, None]
        counts = np.moveaxis(np.tensordot(member.astype(np.float64), counts, axes=(1, axis)), 0, axis)
    return counts


def sizes_at(labels: Int[np.ndarray, "time height width"], size: tuple[int, int, int]) -> Int[np.ndarray, "label"]:
    """Voxels of each label after nearest-neighbour resizing to ``size``; int64 [largest label + 1]."""
    return np.bincount(resize_labels(labels, size).ravel(), minlength=int(labels.max()) + 1)
