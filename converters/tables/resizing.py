"""Position tables for another number of positions, as the originals resize theirs when they load a checkpoint.

    table  [..., position, channel]; only the axis of positions changes
    shape  the same with another number of positions

Each function raises ValueError where the original cannot resize either. For ``Rule.resize``.
Kernels as in torch.nn.functional.interpolate with align_corners=False; Keys (1981), "Cubic convolution interpolation
for digital image processing", with a = -0.75.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Resize = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
CUBIC = -0.75


def keep_class(resize: Resize) -> Resize:
    """``resize`` for tables whose first position is the class token's: it stays, the others are resized."""

    def resized(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        _check(table, shape)
        if table.shape[-2] < 2 or shape[-2] < 2:
            raise ValueError("a table with a class position needs another position")
        rest = resize(table[..., 1:, :], (*shape[:-2], shape[-2] - 1, shape[-1]))
        return np.concatenate([table[..., :1, :], rest], -2)

    return resized


def nearest_1d(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Position i of the new table is position floor(i · old / new), reckoned in float32 (TimeSformer)."""
    old, new = _check(table, shape)
    places = np.floor(np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new)))
    return table[..., np.minimum(places.astype(np.int64), old - 1), :]


def bicubic_2d(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Bicubic interpolation of a square grid of positions, rows first (CLIP, VideoMAE)."""
    old, new = (math.isqrt(count) for count in _check(table, shape))
    if old * old != table.shape[-2] or new * new != shape[-2]:
        raise ValueError(f"{table.shape[-2]} -> {shape[-2]} positions: only square grids can be resized")
    weights = _cubic(old, new)
    grid = table.reshape(*table.shape[:-2], old, old, table.shape[-1])
    rows = _weighted(weights, grid.reshape(*table.shape[:-2], old, -1)).reshape(*shape[:-2], new, old, shape[-1])
    return _weighted(weights, rows).reshape(shape)


def crop_or_zero_pad(table: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The first positions, and zeros for those beyond the table (ViCLIP's frames)."""
    old, new = _check(table, shape)
    resized = np.zeros(shape, table.dtype)
    resized[..., : min(old, new), :] = table[..., : min(old, new), :]
    return resized


def _check(table: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int]:
    """Old and new number of positions. Raises ValueError unless the shapes differ in that alone."""
    shape = tuple(shape)
    if table.ndim < 2 or table.ndim != len(shape) or table.shape[:-2] + table.shape[-1:] != shape[:-2] + shape[-1:]:
        raise ValueError(f"only the number of positions can be changed, not {list(table.shape)} to {list(shape)}")
    if not table.shape[-2] or not shape[-2]:
        raise ValueError("an empty table cannot be resized")
    return table.shape[-2], shape[-2]


def _weighted(weights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """weights [new, old], table [..., old, channel] -> [..., new, channel], summed in float64."""
    return np.matmul(weights, table).astype(np.float32)


def _places(old: int, new: int) -> np.ndarray:
    """Where the new positions' centres lie among the old ones, in [-0.5, old - 0.5], reckoned in float32."""
    scale = np.float32(old) / np.float32(new)
    return scale * (np.arange(new, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)


def _cubic(old: int, new: int) -> np.ndarray:
    """Weights [new, old] of the four nearest positions; beyond the ends the end counts."""
    places = _places(old, new)
    left = np.floor(places).astype(int)
    weights = np.zeros((new, old))
    for step in range(-1, 3):
        distance = np.abs(places - (left + step))
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        np.add.at(weights, (np.arange(new), np.clip(left + step, 0, old - 1)), np.where(distance <= 1, near, far))
    return weights
