"""Augmentations of colour and sharpness, the same in all frames of a clip."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from vtcd_jax.base.errors import InputError

LUMINANCE = np.array([0.2989, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in PyTorch's colour augmentations
Pixels = Float[np.ndarray, "time height width 3"]  # 0 to 1


def colour_jitter(
    rng: np.random.Generator,
    clip: UInt8[np.ndarray, "time height width 3"],
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    probability: float = 1.0,
) -> UInt8[np.ndarray, "time height width 3"]:
    """Brightness, contrast, saturation and hue changed in random order, with a probability.

    brightness, contrast, saturation: strength s >= 0; the factor f is uniform in [max(0, 1 - s), 1 + s]. With pixels x
        in [0, 1]: brightness f x; contrast f x + (1 - f) m with m the clip's mean luminance; saturation
        f x + (1 - f) l with l the pixel's luminance; each cut to [0, 1].
    hue: strength h from 0 to 0.5; the hue, a turn being 1, is shifted by a value uniform in [-h, h].
    """
    if min(brightness, contrast, saturation) < 0 or not 0 <= hue <= 0.5:
        raise InputError("colour_jitter: strengths from 0, that of hue up to 0.5")
    if rng.random() >= probability:
        return clip
    factors = [rng.uniform(max(0.0, 1 - s), 1 + s) for s in (brightness, contrast, saturation)]
    changes = list(zip((_brighter, _contrasted, _saturated, _turned), [*factors, rng.uniform(-hue, hue)], strict=True))
    pixels = clip.astype(np.float32) / 255
    for i in rng.permutation(len(changes)):
        change, amount = changes[i]
        pixels = change(pixels, np.float32(amount))
    return _bytes(pixels)


def _brighter(pixels: Pixels, factor: np.float32) -> Pixels:
    return np.clip(factor * pixels, 0, 1)


def _contrasted(pixels: Pixels, factor: np.float32) -> Pixels:
    return np.clip(factor * pixels + (1 - factor) * (pixels @ LUMINANCE).mean(), 0, 1)


def _saturated(pixels: Pixels, factor: np.float32) -> Pixels:
    return np.clip(factor * pixels + (1 - factor) * (pixels @ LUMINANCE)[..., None], 0, 1)


def _turned(pixels: Pixels, turn: np.float32) -> Pixels:
    """Another hue of HSV; value and chroma stay.

    Five times faster than a conversion to HSV and back by scikit-image.
    """
    red, green, blue = (pixels[..., channel] for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)  # over an axis of 3, NumPy's max is slow
    chroma = value - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(chroma > 0, chroma, 1)
    of_green, of_blue = 2 + (blue - red) / divisor, 4 + (red - green) / divisor
    sixths = np.where(value == red, (green - blue) / divisor, np.where(value == green, of_green, of_blue)) + 6 * turn
    turned = np.empty_like(pixels)
    for channel, offset in enumerate((5, 3, 1)):
        away = (offset + sixths) % 6
        turned[..., channel] = value - chroma * np.clip(np.minimum(away, 4 - away), 0, 1)
    return turned


def grey(
    rng: np.random.Generator, clip: UInt8[np.ndarray, "time height width 3"], probability: float = 0.2
) -> UInt8[np.ndarray, "time height width 3"]:
    """The luminance in all three channels, with a probability."""
    if rng.random() >= probability:
        return clip
    return np.repeat(_bytes((clip.astype(np.float32) / 255 @ LUMINANCE)[..., None]), 3, axis=-1)


def blur(
    rng: np.random.Generator,
    clip: UInt8[np.ndarray, "time height width 3"],
    sigma: tuple[float, float] = (0.1, 2.0),
    probability: float = 0.5,
) -> UInt8[np.ndarray, "time height width 3"]:
    """Gaussian blur of each frame with a probability; its standard deviation, in pixels, is uniform in ``sigma``."""
    if not 0 <= sigma[0] <= sigma[1]:
        raise InputError(f"blur: sigma {sigma} from low to high, both from 0")
    if rng.random() >= probability:
        return clip
    width = rng.uniform(*sigma)
    return _bytes(ndimage.gaussian_filter(clip.astype(np.float32) / 255, (0, width, width, 0), mode="mirror"))


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * 255).astype(np.uint8)
