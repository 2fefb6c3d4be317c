"""Frames and masks to the model's size. Axes: [height, width, channel] in and out, uint8."""

from __future__ import annotations

import numpy as np


def resize(frame: np.ndarray, height: int, width: int, *, antialias: bool = True) -> np.ndarray:
    """One uint8 RGB frame [height, width, 3] at another size; the aspect ratio is not kept.

    antialias: a triangle filter whose support grows with the shrinking (Pillow's bilinear; what video readers
               do that decode straight to a size), or, if False, interpolation between the four neighbours, in
               float32 with pixel centres at half integers, rounded to the nearest (half to even).
    """
    if frame.shape[:2] == (height, width):
        return np.ascontiguousarray(frame)
    if not antialias:
        return _four_neighbours(frame, height, width)
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """One bool mask [height, width] at another size: the value of the nearest pixel centre."""
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for new, old in zip((height, width), mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]


def _four_neighbours(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    low, high, weight = _neighbours(height, frame.shape[0])
    rows = _blend(frame[low], frame[high], weight[:, None, None])
    low, high, weight = _neighbours(width, frame.shape[1])
    return np.rint(_blend(rows[:, low], rows[:, high], weight[:, None])).astype(np.uint8)


def _neighbours(new: int, old: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each new pixel along one axis the two old pixels around it and the weight of the second."""
    place = np.maximum((np.arange(new, dtype=np.float32) + 0.5) * np.float32(old / new) - 0.5, 0).astype(np.float32)
    low = np.minimum(place.astype(np.intp), old - 1)
    return low, np.minimum(low + 1, old - 1), place - low.astype(np.float32)


def _blend(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return first.astype(np.float32) * (1 - weight) + second.astype(np.float32) * weight
