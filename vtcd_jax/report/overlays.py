"""Overlays: clips with a concept tinted and outlined, and everything else dimmed.

Axes: ``time height width`` of the pictures as shown. Colours are those of Okabe & Ito, which colour-blind readers can
      distinguish.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from vtcd_jax.concepts.tubelets.resampling import nearest_index

Colour = tuple[int, int, int]

# Orange, sky blue, bluish green, yellow, blue, vermilion, reddish purple.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
SIDE = 192  # approximate pixels of an enlarged small clip
LARGEST = 448  # pixels above which a clip is made smaller

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def overlay(
    frames: UInt8[np.ndarray, "time height width 3"],
    mask: Bool[np.ndarray, "time height width"],
    colour: Colour,
    *,
    tint: float = 0.3,
    line: int = 2,
) -> UInt8[np.ndarray, "time height width 3"]:
    """Frames with the mask tinted and outlined in ``colour``, and the rest darker and paler.

    tint: fraction of the colour inside the mask, in [0, 1].
    line: thickness of the outline in pixels, drawn inside the mask, with a dark hairline outside it; none at the edge
          of the picture.
    """
    pixels = frames.astype(np.float32)
    ink = np.asarray(colour, np.float32)
    dimmed = 0.65 * (0.5 * pixels + 0.5 * (pixels @ _LUMA)[..., None])
    inside = (1 - tint) * pixels + tint * ink
    drawn = np.where(mask[..., None], inside, dimmed)
    drawn[mask & ~_shrink(mask, line)] = ink
    drawn[_shrink(~mask, 1) != ~mask] = 20.0
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


def outline(
    frames: UInt8[np.ndarray, "time height width 3"],
    mask: Bool[np.ndarray, "time height width"],
    colour: Colour,
    *,
    line: int = 2,
) -> UInt8[np.ndarray, "time height width 3"]:
    """Frames as they are, with the outline of ``overlay`` alone."""
    drawn = frames.copy()
    drawn[mask & ~_shrink(mask, line)] = colour
    drawn[_shrink(~mask, 1) != ~mask] = 20
    return drawn


def _shrink(mask: np.ndarray, steps: int) -> np.ndarray:
    """The mask without the pixels that touch its outside, ``steps`` times; beyond the picture counts as inside."""
    for _ in range(steps):
        wide = np.pad(mask, ((0, 0), (1, 1), (1, 1)), constant_values=True)
        mask = mask & wide[:, :-2, 1:-1] & wide[:, 2:, 1:-1] & wide[:, 1:-1, :-2] & wide[:, 1:-1, 2:]
    return mask


def colour_of(rank: int) -> Colour:
    """Colour of the concept at a rank from 0; the palette is used cyclically."""
    return PALETTE[rank % len(PALETTE)]


def display(
    frames: UInt8[np.ndarray, "time height width 3"], support: Bool[np.ndarray, "time2 height2 width2"]
) -> tuple[np.ndarray, np.ndarray]:
    """Frames and mask at their display size: small clips are enlarged by an integer factor, large ones reduced.

    Returns uint8 [time, h, w, 3] and bool [time, h, w]. Both are enlarged by nearest neighbour, so the mask keeps the
    exact cells of the segmentation.
    """
    side = max(frames.shape[1:3])
    grow, cut = max(1, round(SIDE / side)), -(-side // LARGEST)
    if cut > 1:
        time, height, width = (n // d for n, d in zip(frames.shape, (1, cut, cut), strict=False))
        blocks = frames[:, : height * cut, : width * cut].reshape(time, height, cut, width, cut, 3)
        frames = np.rint(blocks.mean((2, 4))).astype(np.uint8)
    frames = frames.repeat(grow, axis=1).repeat(grow, axis=2)
    t, h, w = (nearest_index(n, m) for n, m in zip(frames.shape[:3], support.shape, strict=True))
    return frames, support[np.ix_(t, h, w)]


def concept_clip(
    frames: UInt8[np.ndarray, "time height width 3"],
    support: Bool[np.ndarray, "time2 height2 width2"],
    colour: Colour,
) -> np.ndarray:
    """A clip at display size, with a concept's support (at any resolution) as overlay: uint8 [time, h, w, 3]."""
    shown, mask = display(frames, support)
    return overlay(shown, mask, colour)
