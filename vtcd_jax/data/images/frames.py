"""Clips that are folders of numbered frames (jpg, png), and the masks that lie beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..resize import resize_mask
from ..sampling import Sampling, first_indices, needed, too_short, uniform_indices
from .reading import read_image, read_mask


def sample_frames(
    frames: tuple[Path, ...],
    sampling: Sampling,
    *,
    num_frames: int,
    stride: int,
    convert: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The sampled images, each put through ``convert`` (RGB uint8 [height, width, 3]); [num_frames, ...]."""
    kept = frame_indices(frames, sampling, num_frames=num_frames, stride=stride)
    pictures = {i: convert(read_image(frames[i])) for i in sorted(set(kept))}
    return np.stack([pictures[i] for i in kept])


def sample_masks(
    frames: tuple[Path, ...],
    folder: Path,
    sampling: Sampling,
    *,
    num_frames: int,
    stride: int,
    height: int,
    width: int,
) -> np.ndarray | None:
    """Bool masks [num_frames, height, width] of the sampled frames, by file stem; None if one is missing."""
    files = [
        folder / f"{frames[i].stem}.png" for i in frame_indices(frames, sampling, num_frames=num_frames, stride=stride)
    ]
    if not all(file.is_file() for file in files):
        return None
    return np.stack([resize_mask(read_mask(file), height, width) for file in files])


def frame_indices(frames: tuple[Path, ...], sampling: Sampling, *, num_frames: int, stride: int) -> list[int]:
    """Which images are used, in order; the last one repeats where that is allowed, else InputError."""
    count = len(frames)
    if sampling.short == "refuse" and count < needed(sampling, num_frames, stride):
        raise too_short(str(frames[0].parent), count, sampling, num_frames, stride)
    first = sampling.kind == "first"
    wanted = first_indices(num_frames, stride, sampling.start) if first else uniform_indices(count, num_frames)
    kept = [i for i in wanted if i < count]
    if not kept:
        raise too_short(str(frames[0].parent), count, sampling, num_frames, stride)
    return kept + [count - 1] * (num_frames - len(kept))
