"""Spatial augmentations: crops and mirror images, the same in all frames of a clip."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vtcd_jax.base.errors import InputError

ATTEMPTS = 10  # draws of a box before a central one is taken, as in torchvision's random resized crop


def resized_crop(
    rng: np.random.Generator,
    clip: UInt8[np.ndarray, "time height width 3"],
    size: tuple[int, int],
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> UInt8[np.ndarray, "time height_out width_out 3"]:
    """A random box, the same in all frames, resized to ``size`` (Szegedy et al. 2015, "Inception" crops).

    size:  (height, width) of the result.
    scale: range of the box's area as a fraction of the frame's, uniform.
    ratio: range of its width / height, uniform in the logarithm.

    Bilinear with the whole area of shrunk pixels (Pillow's filter).
    """
    if not (0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1]):
        raise InputError(f"resized_crop: scale {scale} within (0, 1] and ratio {ratio} above 0, both from low to high")
    top, left, height, width = _box(rng, clip.shape[1], clip.shape[2], scale, ratio)
    box = (left, top, left + width, top + height)
    frames = [Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box) for frame in clip]
    return np.stack([np.asarray(frame) for frame in frames])


def _box(
    rng: np.random.Generator, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width), whole pixels inside the frame."""
    for _ in range(ATTEMPTS):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    w = max(1, min(width, round(height * ratio[1])))  # the largest box in the middle of which the ratio is allowed
    h = max(1, min(height, round(width / ratio[0])))
    return (height - h) // 2, (width - w) // 2, h, w


def flip(
    rng: np.random.Generator, clip: UInt8[np.ndarray, "time height width 3"], probability: float = 0.5
) -> UInt8[np.ndarray, "time height width 3"]:
    """The mirror image, left for right, with a probability. It changes the class of motions with a direction."""
    return np.ascontiguousarray(clip[:, :, ::-1]) if rng.random() < probability else clip
