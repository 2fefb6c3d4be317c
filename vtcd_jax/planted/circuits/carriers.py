"""How pixels carry the properties: every property adds a faint fixed pattern to a token's pixels.

    C  [quantity pixel]  orthogonal patterns of mean 0 and mean square 1, drawn from the seed of the network
    pixels of a token  =  picture without its part along C  +  STEP · Σ value · pattern

A hand-written network cannot see that an object will be covered soon. It reads the patterns instead, with its patch
embedding. The picture below them shows the scene, for people. Besides the properties, ``TEXTURES`` patterns carry
independent standard normal numbers, the source of the noise in the keys. Pixels are whole numbers, so values are read
with an error of about 0.01.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from .properties import GRID, NAMES, PATCH, TUBELET
from .scene import COLOURS, FRAMES, SIDE, Scene

PIXELS = TUBELET * PATCH**2 * 3  # values of a token
TEXTURES = 12
QUANTITIES = len(NAMES) + TEXTURES
STEP = 3.0  # grey levels
GREY, BAR, BOX = 128, 112, 140  # brightness of background, occluder and container

Patterns = Float[np.ndarray, "quantity pixel"]
Carried = Float[np.ndarray, "quantity time height width"]


def patterns(rng: np.random.Generator) -> Patterns:
    """The patterns C."""
    drawn = rng.standard_normal((PIXELS, QUANTITIES))
    basis = np.linalg.qr(np.concatenate([np.ones((PIXELS, 1)), drawn], 1))[0][:, 1:]
    return basis.T * np.sqrt(PIXELS)


def picture(scene: Scene) -> Float[np.ndarray, "frame row column colour"]:
    """What people see: grey levels of RGB."""
    frames = np.full((FRAMES, SIDE, SIDE, 3), float(GREY))
    frames[scene.container] = BOX
    for thing in scene.things.values():
        frames[thing.seen] = COLOURS[thing.colour]
    frames[scene.occluder] = BAR
    return frames


def write(base: np.ndarray, carried: Carried, C: Patterns) -> UInt8[np.ndarray, "frame row column colour"]:
    """A clip that shows ``base`` and carries the values."""
    tokens = _tokens(base)
    tokens = tokens - (tokens @ C.T / PIXELS) @ C + STEP * np.moveaxis(carried, 0, -1).reshape(-1, len(C)) @ C
    return np.clip(np.rint(_frames(tokens)), 0, 255).astype(np.uint8)


def read(video: UInt8[np.ndarray, "frame row column colour"], C: Patterns) -> Carried:
    """The values that a clip carries."""
    found = _tokens(video.astype(float)) @ C.T / (PIXELS * STEP)
    return np.moveaxis(found.reshape(*GRID, len(C)), -1, 0)


def _tokens(frames: np.ndarray) -> Float[np.ndarray, "token pixel"]:
    """Pixels by token, in the order (frame, row, column, colour) of the patch embedding."""
    time, height, width = GRID
    split = frames.reshape(time, TUBELET, height, PATCH, width, PATCH, 3)
    return split.transpose(0, 2, 4, 1, 3, 5, 6).reshape(-1, PIXELS)


def _frames(tokens: Float[np.ndarray, "token pixel"]) -> Float[np.ndarray, "frame row column colour"]:
    time, height, width = GRID
    split = tokens.reshape(time, height, width, TUBELET, PATCH, PATCH, 3)
    return split.transpose(0, 3, 1, 4, 2, 5, 6).reshape(FRAMES, SIDE, SIDE, 3)
