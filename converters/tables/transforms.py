"""Transforms of a rule: a source array to our array, or to one array per target. Pure functions of numpy arrays.

PyTorch keeps linear weights as [out, in] and convolutions as [out, in, …]; our kernels are [in, out] and […, in, out].
"""

from __future__ import annotations

import numpy as np


def identity(x: np.ndarray) -> np.ndarray:
    """As it is: biases, scales, tables, bare projections that are already [in, out]."""
    return x


def transpose(x: np.ndarray) -> np.ndarray:
    """Linear weight [out, in] -> kernel [in, out]."""
    _expect_axes(x, 2)
    return x.T


def split_qkv(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Fused weight [3 out, in], rows [query; key; value] -> three kernels [in, out]."""
    _expect_axes(x, 2)
    return tuple(part.T for part in np.split(x, 3))


def patch_kernel(x: np.ndarray) -> np.ndarray:
    """Conv3d weight [out, in, time, height, width] -> [time, height, width, in, out]."""
    _expect_axes(x, 5)
    return x.transpose(2, 3, 4, 1, 0)


def squeeze(x: np.ndarray) -> np.ndarray:
    """[1, …, 1, channel] -> [channel]."""
    return x.reshape(x.shape[-1:])


def frame_kernel(x: np.ndarray) -> np.ndarray:
    """Conv2d weight [out, in, height, width] -> [time 1, height, width, in, out]."""
    _expect_axes(x, 4)
    return x.transpose(2, 3, 1, 0)[None]


def split_bias(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Fused bias [3 out], [query; key; value] -> three."""
    _expect_axes(x, 1)
    return tuple(np.split(x, 3))


def table(x: np.ndarray) -> np.ndarray:
    """[1, position, channel] -> [position, channel]."""
    if x.ndim != 3 or x.shape[0] != 1:
        raise ValueError("expected [1, position, channel]")
    return x[0]


def _expect_axes(x: np.ndarray, axes: int) -> None:
    if x.ndim != axes:
        raise ValueError(f"expected {axes} axes")
