"""Feature volumes at the resolution of the segmentation.

Axes: ``time height width channel``. Interpolation is separable: one small matrix per axis, applied as a matrix product
in float32 at the highest precision. Kowal et al. (2024), §4.1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vtcd_jax.models import InputError, Preprocessing


def slic_size(preprocessing: Preprocessing) -> tuple[int, int, int]:
    """(time, height, width) of the volume that is segmented: every frame, at half the height and width."""
    return preprocessing.num_frames, max(preprocessing.height // 2, 1), max(preprocessing.width // 2, 1)


def nearest_index(new: int, old: int) -> np.ndarray:
    """For each of ``new`` positions the one of ``old`` it is copied from: floor(i · old / new), int64
    [new].
    """
    return np.arange(new) * old // new


def linear_matrix(new: int, old: int) -> np.ndarray:
    """float32 [new, old]: linear interpolation whose first and last samples coincide (aligned corners)."""
    position = np.arange(new) * ((old - 1) / (new - 1)) if new > 1 else np.zeros(1)
    low = np.minimum(np.floor(position).astype(int), old - 1)
    high = np.minimum(low + 1, old - 1)
    share = position - low
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new), low), 1 - share)
    np.add.at(matrix, (np.arange(new), high), share)
    return matrix.astype(np.float32)


def axis_matrices(size: tuple[int, ...], grid: tuple[int, ...], mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What ``upsample`` does from ``grid`` to ``size``, as matrices float32 [new, old] along time, height and width.

    Raises InputError for another mode.
    """
    if mode not in ("linear", "nearest"):
        raise InputError(f"upsampling must be linear or nearest; got {mode!r}")
    one = linear_matrix if mode == "linear" else _nearest_matrix
    time, height, width = (one(new, old) for new, old in zip(size, grid, strict=True))
    return time, height, width


def _nearest_matrix(new: int, old: int) -> np.ndarray:
    return (nearest_index(new, old)[:, None] == np.arange(old)).astype(np.float32)


def upsample(
    volume: Float[Array | np.ndarray, "time height width channel"],
    size: tuple[int, int, int],
    mode: str = "linear",
) -> Float[Array, "new_time new_height new_width channel"]:
    """Resizes a volume along time, height and width.

    size: (new_time, new_height, new_width).
    mode: "linear" (trilinear, aligned corners) or "nearest" (index floor(i · old / new)).
    Raises InputError for another mode.
    """
    matrices = axis_matrices(size, np.shape(volume)[:3], mode)
    return _upsample(jnp.asarray(volume), *matrices)


@jax.jit
def _upsample(volume: jax.Array, time: jax.Array, height: jax.Array, width: jax.Array) -> jax.Array:
    return jnp.einsum("thwc,Tt,Hh,Ww->THWc", volume, time, height, width, precision="highest")
