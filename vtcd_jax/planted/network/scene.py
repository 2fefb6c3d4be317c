"""Planted clips: a striped object moves left or right over grey texture; a striped distractor stays still.

The object is red or blue, the distractor green. All have the mean brightness of the background, so that colour, stripes
and brightness are independent, and stripes move by a quarter of their period per frame. Object and distractor stay in
different halves of the picture (upper, lower) and never touch. Every value is drawn from the seed and the number of the
clip.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import gaussian_filter

from vtcd_jax.data import Clips
from vtcd_jax.models import InputError

SIDE, PATCH, FRAMES, TUBELET = 64, 8, 8, 2
PERIOD, SPEED = 8, 2  # pixels; pixels per frame
OBJECT, DISTRACTOR = 24, 20  # pixels across
GREY, STRIPES, TEXTURE, NOISE = 128, 45, 10, 2  # brightness, and amplitudes around it
COLOURS = {"red": (208, 88, 88), "green": (88, 208, 88), "blue": (88, 88, 208)}
LABELS = ("red going right", "red going left", "blue going right", "blue going left")
SIGNS = {"direction": np.array([1, -1, 1, -1]), "hue": np.array([1, 1, -1, -1])}  # of each class


def clips(count: int, seed: int) -> Clips:
    """``count`` clips, all classes equally often (in turn), with the masks "object" and "distractor".

    Raises InputError for fewer than one.
    """
    if count < 1:
        raise InputError(f"{count} clips: give at least one")
    labels = np.arange(count) % len(LABELS)
    made = [_clip(np.random.default_rng([seed, number]), int(label)) for number, label in enumerate(labels)]
    video, moving, staying = (np.stack(arrays) for arrays in zip(*made, strict=True))
    names = [f"planted-{seed}-{number}" for number in range(count)]
    return Clips.make(video, names, labels, {"object": moving, "distractor": staying})


def _clip(
    rng: np.random.Generator, label: int
) -> tuple[UInt8[np.ndarray, "t h w 3"], Bool[np.ndarray, "t h w"], Bool[np.ndarray, "t h w"]]:
    """Pixels, the object's mask and the distractor's."""
    direction = int(SIGNS["direction"][label])
    distance = SPEED * (FRAMES - 1)
    start = int(rng.integers(0, SIDE - OBJECT - distance + 1)) + (distance if direction < 0 else 0)
    halves = rng.permutation(2) * SIDE // 2
    texture = gaussian_filter(rng.standard_normal((SIDE, SIDE)), 2, mode="wrap")
    frames = np.repeat((GREY + TEXTURE * texture / texture.std())[None, ..., None], 3, -1).repeat(FRAMES, 0)
    left = start + direction * SPEED * np.arange(FRAMES)
    top = _top(rng, int(halves[0]), OBJECT)
    moving = _paint(frames, left, top, OBJECT, "red" if label < 2 else "blue", rng.uniform(0, PERIOD))
    still = np.full(FRAMES, rng.integers(0, SIDE - DISTRACTOR + 1))
    top = _top(rng, int(halves[1]), DISTRACTOR)
    staying = _paint(frames, still, top, DISTRACTOR, "green", rng.uniform(0, PERIOD))
    frames += NOISE * rng.standard_normal(frames.shape)
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8), moving, staying


def _top(rng: np.random.Generator, half: int, size: int) -> int:
    """Upper edge inside a half of the picture: an even row, so that no token is covered to just under a half."""
    return half + 2 * int(rng.integers(0, (SIDE // 2 - size) // 2 + 1))


def _paint(frames: np.ndarray, left: np.ndarray, top: int, size: int, colour: str, phase: float) -> np.ndarray:
    """Paints a striped square into every frame; returns its mask. left: int [time]."""
    mask = np.zeros(frames.shape[:3], bool)
    stripes = STRIPES * np.cos(2 * np.pi * (np.arange(size) + phase) / PERIOD)
    for frame, x in enumerate(left):
        mask[frame, top : top + size, x : x + size] = True
        frames[frame, top : top + size, x : x + size] = np.add.outer(stripes, COLOURS[colour])
    return mask
