"""Temporal augmentations: the frames of a clip."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from vtcd_jax.base.errors import InputError


def random_frames(
    rng: np.random.Generator, length: int, count: int, stride: tuple[int, int] = (1, 1)
) -> Int[np.ndarray, "frame"]:
    """Indices of ``count`` frames with one stride, from a random start.

    length: frames of the video.
    stride: range of it, both ends included. Uniform among the strides with which the clip fits into the video; the
            start is uniform among the possible ones.

    Raises InputError if the video is too short for the smallest stride.
    """
    lowest, highest = stride
    if not 1 <= lowest <= highest or count < 1:
        raise InputError(f"random_frames: strides from 1, low to high, and 1 frame or more; not {stride} and {count}")
    _check_length(length, count, lowest)
    largest = highest if count == 1 else min(highest, (length - 1) // (count - 1))
    step = int(rng.integers(lowest, largest + 1))
    start = int(rng.integers(length - (count - 1) * step))
    return start + step * np.arange(count)


def uniform_windows(length: int, count: int, windows: int, stride: int = 1) -> Int[np.ndarray, "window frame"]:
    """Indices of ``windows`` clips spread evenly from the video's first frame to its last, for averaged evaluation.

    A single window is in the middle. Raises InputError if the video is too short.
    """
    if stride < 1 or count < 1 or windows < 1:
        raise InputError("uniform_windows: frames, windows and stride from 1")
    _check_length(length, count, stride)
    room = length - ((count - 1) * stride + 1)
    starts = np.array([room // 2]) if windows == 1 else np.rint(np.linspace(0, room, windows)).astype(int)
    return starts[:, None] + stride * np.arange(count)


def _check_length(length: int, count: int, stride: int) -> None:
    needed = (count - 1) * stride + 1
    if length < needed:
        raise InputError(f"a video of {length} frames is too short: {count} frames with stride {stride} need {needed}")
