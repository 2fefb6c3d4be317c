"""Drawing the synthetic world: from a layout and trajectories to pixels, depth and the whole target's mask.

Pieces (a textured object, an occluder, a container's two parts) are stamped far to near as array slices,
frame by frame; positions are rounded to whole pixels. Lengths of the plan are in units of 1/48 of the frame.

    video [time, height, width, 3] uint8        depth [time, height, width] int8, a ``Layer``
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import textures as textures
from .motion import PAN, Layer, Layout, Plan


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Pixels and shapes of a clip, without positions."""

    background: np.ndarray  # uint8, larger than the frame by the camera's path
    target: np.ndarray  # tile
    second: np.ndarray
    shapes: tuple[str, ...]
    colour: str  # the word for the target's
    turn: tuple[int, ...]
    back: np.ndarray | None  # uint8 [row, column, 3], a container's full outline with its dark opening
    front: np.ndarray  # an occluder, or the container's front wall (its lower rows)
    lookup: np.ndarray  # uint8 [256], brightness and contrast
    noise: np.ndarray  # uint8 [time, height, width, 3], added modulo 256

    def finish(self, video: np.ndarray) -> np.ndarray:
        return self.lookup[video] + self.noise


def draw_surfaces(rng: np.random.Generator, layout: Layout, size: int, split: str, texture: float = 1.0) -> Surfaces:
    """All random choices of colour, texture, shape and noise, in an order that no class changes.

    texture: contrast of the textures, 0 to 1; no random choice depends on it.
    """

    def surface(images: tuple[np.ndarray, ...], height: int, width: int, colour: np.ndarray) -> np.ndarray:
        return textures.paint(textures.faded(textures.crop(rng, images, height, width), texture), colour)

    unit = size / 48
    objects, grounds = textures.sheets(size, split)
    wide = size + 2 * _margin(size)
    side = round(20 * unit)
    ground = textures.colour(rng, (0.0, 0.35), (0.3, 0.75), [])
    target = textures.colour(rng, (0.5, 1.0), (0.4, 1.0), [ground])
    second = textures.colour(rng, (0.5, 1.0), (0.4, 1.0), [ground, target])
    prop = textures.colour(rng, (0.1, 0.7), (0.3, 0.95), [ground, target])
    height, width = round(layout.prop_height * unit), round(layout.prop_width * unit)
    back, front = _prop_pixels(surface(objects, height, width, prop), layout, unit)
    contrast, brightness = rng.uniform(0.85, 1.1), rng.uniform(-14, 14)
    limit = textures.NOISE_LIMIT
    lookup = np.clip((np.arange(256) - 128) * contrast + 128 + brightness, limit, 255 - limit).astype(np.uint8)
    pool = textures.noise_pool(int(rng.integers(textures.NOISE_LEVELS)))
    count = layout.frames * size * size * 3
    start = int(rng.integers(max(1, len(pool) - count)))
    return Surfaces(
        background=surface(grounds, wide, wide, ground),
        target=surface(objects, side, side, target),
        second=surface(objects, side, side, second),
        shapes=tuple(textures.SHAPES[i] for i in rng.integers(len(textures.SHAPES), size=2)),
        colour=textures.colour_name(target),
        turn=tuple(int(i) for i in rng.integers(textures.ANGLES, size=2)),
        back=back,
        front=front,
        lookup=lookup,
        noise=np.resize(pool[start : start + count], (layout.frames, size, size, 3)),
    )


def _margin(size: int) -> int:
    return int(np.ceil(PAN / 2 * size / 48)) + 1


def _prop_pixels(face: np.ndarray, layout: Layout, unit: float) -> tuple[np.ndarray | None, np.ndarray]:
    """(container's outline or None, front piece) from a textured rectangle; edges are drawn as lines."""
    line = max(1, round(unit))
    edged = face // 2
    edged[line:-line, line:-line] = face[line:-line, line:-line]
    if not layout.container:
        return None, edged
    rows = round(len(face) * (1 - layout.front_wall))
    back = face // 3
    back[:, :line] = back[:, -line:] = back[:line] = np.minimum(face[:line].astype(int) + 60, 255).max(axis=(0, 1))
    front = edged[rows:].copy()
    front[:line] = face[:line] // 2
    return back, front


def render(
    layout: Layout, plan: Plan, second: tuple[float, float], surfaces: Surfaces, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(video uint8, depth int8, target_whole bool); ``second`` is the still place of the other object."""
    unit, frames = size / 48, layout.frames
    camera_x, camera_y = np.broadcast_to(plan.camera_x, frames), np.broadcast_to(plan.camera_y, frames)
    video = _background(surfaces.background, camera_x * unit, camera_y * unit, size)
    depth, whole = np.zeros(video.shape[:3], np.int8), np.zeros(video.shape[:3], bool)
    for layer, x, y, pieces in sorted(_parts(layout, plan, second, surfaces, unit), key=lambda part: part[0]):
        lefts, tops = ((x - camera_x) * unit).tolist(), ((y - camera_y) * unit).tolist()
        for t, (pixels, mask) in enumerate(pieces):
            top, left = round(tops[t] - pixels.shape[0] / 2), round(lefts[t] - pixels.shape[1] / 2)
            also = whole[t] if layer == plan.layer else None
            _stamp(video[t], depth[t], also, layer, pixels, mask, top, left)
    return video, depth, whole


def _parts(layout: Layout, plan: Plan, second: tuple[float, float], surfaces: Surfaces, unit: float) -> list[tuple]:
    """(layer, x [time], y [time], (pixels, mask or None) per frame) of all that lies over the background."""
    frames = layout.frames
    pieces = _turned(surfaces.target, surfaces.shapes[0], surfaces.turn[0], plan.target_x, plan.target_diameter, unit)
    layers: list[tuple] = [(plan.layer, plan.target_x, plan.target_y, pieces)]
    if layout.has_second:
        x = np.full(frames, second[0]) if plan.second_x is None else plan.second_x
        y = np.full(frames, second[1]) if plan.second_y is None else plan.second_y
        diameter = np.full(frames, layout.second)
        pieces = _turned(surfaces.second, surfaces.shapes[1], surfaces.turn[1], x, diameter, unit)
        layers.append((Layer.SECOND, x, y, pieces))
    drop = 0.0
    if surfaces.back is not None:
        layers.append((Layer.PROP_BACK, plan.prop_x, plan.prop_y, [(surfaces.back, None)] * frames))
        # The front wall is the lower part of the outline: its centre lies lower by half the difference.
        drop = (len(surfaces.back) - len(surfaces.front)) / 2 / unit
    layers.append((Layer.PROP_FRONT, plan.prop_x, plan.prop_y + drop, [(surfaces.front, None)] * frames))
    return layers


def _background(large: np.ndarray, x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    video = np.empty((len(x), size, size, 3), np.uint8)
    margin = _margin(size)
    for t in range(len(x)):
        top, left = margin + round(float(y[t])), margin + round(float(x[t]))
        video[t] = large[top : top + size, left : left + size]
    return video


def _turned(
    tile: np.ndarray, shape: str, turn: int, x: np.ndarray, diameter: np.ndarray, unit: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(pixels, mask) per frame; objects turn as far as rolling along ``x`` would turn them."""
    # The angle depends on the place alone, not on the way there: a clip run backwards is a clip of the world.
    angles = turn + np.rint(x / (diameter.max() / 2) * (textures.ANGLES / (2 * np.pi))).astype(int)
    flat = tile.reshape(-1, 3)
    drawn: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    pieces = []
    for size, angle in zip(
        np.rint(diameter * unit).astype(int).tolist(), (angles % textures.ANGLES).tolist(), strict=True
    ):
        if (size, angle) not in drawn:
            mask, rim, source = textures.shape_maps(shape, size, angle, len(tile))
            pixels = flat[source]
            pixels[rim] //= 2
            drawn[size, angle] = (pixels, mask)
        pieces.append(drawn[size, angle])
    return pieces


def _stamp(
    frame: np.ndarray,
    depth: np.ndarray,
    also: np.ndarray | None,
    layer: Layer,
    pixels: np.ndarray,
    mask: np.ndarray | None,
    top: int,
    left: int,
) -> None:
    """Paints one piece into one frame, cut at the frame's edges; ``also`` is a second mask that it marks."""
    height, width = depth.shape
    bottom, right = top + pixels.shape[0], left + pixels.shape[1]
    y0, y1, x0, x1 = max(top, 0), min(bottom, height), max(left, 0), min(right, width)
    if y0 >= y1 or x0 >= x1:
        return
    inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    where = slice(y0, y1), slice(x0, x1)
    if mask is None:
        frame[where], depth[where] = pixels[inside], layer
        return
    mask = mask[inside]
    np.copyto(frame[where], pixels[inside], where=mask[..., None])
    depth[where][mask] = layer
    if also is not None:
        also[where] = mask
