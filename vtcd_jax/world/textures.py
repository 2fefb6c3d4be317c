"""Surfaces of the synthetic world: photograph crops, object shapes, colours and noise, all cached per size.

The photographs are those that lie inside the scikit-image wheel (no download). Each is cut in two: clips of
the "train" split see only its left part, clips of "held-out" only its right part, with a gap between them.

    sheet   uint8 [row, column, 3]   a downscaled half photograph; tiles are cut out of it
    tile    uint8 [side, side, 3]    the surface of one object before turning and scaling
    unit    pixels per 1/48 of the frame; lengths in the world are given in these units
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np

PHOTOGRAPHS = (
    "astronaut",
    "brick",
    "camera",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "rocket",
)
SPLITS = ("train", "held-out")
SHAPES = ("disc", "rounded square", "hexagon")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "purple")  # sixths of the colour circle, red about 0
ANGLES = 24
NOISE_LEVELS = 4
NOISE_LIMIT = 12  # grey levels; colours stay this far from 0 and 255, so noise can be added without clipping
_GAP = 0.06  # fraction of a photograph's width that no split uses
_SHEET = 2.5  # shorter side of a sheet, in frames


@lru_cache(maxsize=4)
def photograph_parts(split: str) -> tuple[np.ndarray, ...]:
    """What ``split`` may show of each photograph: uint8 [row, column, 3], in ``PHOTOGRAPHS`` order."""
    import skimage.data

    parts = []
    for name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        image = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3]
        width = image.shape[1]
        left, right = round(width * (0.5 - _GAP / 2)), round(width * (0.5 + _GAP / 2))
        parts.append(image[:, :left] if split == "train" else image[:, right:])
    return tuple(parts)


@lru_cache(maxsize=8)
def sheets(size: int, split: str) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """(object sheets, background sheets: blurred, of low contrast) for frames of ``size`` pixels."""
    from scipy.ndimage import gaussian_filter
    from skimage.transform import resize

    crisp, soft = [], []
    for part in photograph_parts(split):
        scale = _SHEET * size / min(part.shape[:2])
        shape = (*(int(np.ceil(n * scale)) for n in part.shape[:2]), 3)
        sheet = np.asarray(resize(part.astype(np.float32), shape, anti_aliasing=True, preserve_range=True))
        crisp.append(_normalised(sheet, spread=45.0))
        soft.append(_normalised(np.asarray(gaussian_filter(sheet, (size / 32, size / 32, 0))), spread=14.0))
    return tuple(crisp), tuple(soft)


def _normalised(sheet: np.ndarray, spread: float) -> np.ndarray:
    """Mean 128 in every channel and standard deviation ``spread``, as uint8."""
    centred = sheet - sheet.mean(axis=(0, 1))
    return np.clip(128 + centred * (spread / centred.std()), 0, 255).astype(np.uint8)


def crop(rng: np.random.Generator, images: tuple[np.ndarray, ...], height: int, width: int) -> np.ndarray:
    """A random [height, width, 3] piece of a random image, mirrored at random."""
    image = images[rng.integers(len(images))]
    top = rng.integers(image.shape[0] - height + 1)
    left = rng.integers(image.shape[1] - width + 1)
    piece = image[top : top + height, left : left + width]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


def faded(piece: np.ndarray, contrast: float) -> np.ndarray:
    """A piece with its differences from 128 times ``contrast`` (0 to 1); uint8."""
    if contrast == 1:
        return piece
    return np.rint(128 + contrast * (piece.astype(np.float32) - 128)).astype(np.uint8)


def paint(piece: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Moves a piece's mean from 128 to ``colour`` [3]; uint8."""
    return np.clip(piece + (colour - 128).astype(np.int16), 0, 255).astype(np.uint8)


def colour(rng: np.random.Generator, saturation: tuple, value: tuple, avoid: list[np.ndarray]) -> np.ndarray:
    """Of four random colours (float [3], 0 to 255) the one farthest from every colour in ``avoid``."""
    draws = rng.random((4, 3)) if avoid else rng.random((1, 3))
    low, high = np.array([0.0, saturation[0], value[0]]), np.array([1.0, saturation[1], value[1]])
    choices = [255 * np.array(colorsys.hsv_to_rgb(*(low + (high - low) * draw))) for draw in draws]
    return max(choices, key=lambda c: min((float(np.abs(c - other).sum()) for other in avoid), default=0.0))


def colour_name(colour: np.ndarray) -> str:
    """The word of ``COLOURS`` for a colour (float [3], 0 to 255), by its hue."""
    hue = colorsys.rgb_to_hsv(*(colour / 255))[0]
    return COLOURS[round(hue * len(COLOURS)) % len(COLOURS)]


@lru_cache(maxsize=8192)
def shape_maps(shape: str, diameter: int, angle: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How an object of ``diameter`` pixels, turned by ``angle`` (of ``ANGLES``), is cut from a tile.

    Returns (mask bool [d, d], rim bool [d, d] its darker outline, source int [d, d] flat index into the tile
    [side, side]).
    """
    ys, xs = np.mgrid[:diameter, :diameter] * (2.0 / diameter) + (1.0 / diameter - 1.0)
    turn = 2 * np.pi * angle / ANGLES
    u, v = np.cos(turn) * xs + np.sin(turn) * ys, np.cos(turn) * ys - np.sin(turn) * xs
    radius = _radius(shape, u, v)
    row = np.clip(((v + 1) / 2 * side).astype(int), 0, side - 1)
    column = np.clip(((u + 1) / 2 * side).astype(int), 0, side - 1)
    mask = radius <= 1
    return mask, mask & (radius > 1 - 2.4 / diameter), row * side + column


def _radius(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A norm whose unit ball is the shape; every shape fits the unit circle."""
    if shape == "disc":
        return np.hypot(u, v)
    if shape == "rounded square":
        return (u**4 + v**4) ** 0.25 / 0.86
    directions = np.arange(3) * np.pi / 3
    return np.max([np.abs(np.cos(a) * u + np.sin(a) * v) for a in directions], axis=0) / 0.9


@lru_cache(maxsize=NOISE_LEVELS)
def noise_pool(level: int) -> np.ndarray:
    """uint8 [2**20]: Gaussian noise of ``1.2 * level`` grey levels within +-``NOISE_LIMIT``, modulo 256.

    A clip takes a random stretch of it, which is far cheaper than fresh noise and looks the same.
    """
    noise = np.random.default_rng(level).normal(0.0, 1.2 * level, 1 << 20)
    return np.clip(np.rint(noise), -NOISE_LIMIT, NOISE_LIMIT).astype(np.int8).view(np.uint8)
