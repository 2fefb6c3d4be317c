"""The properties that tokens have in version 2, and how much of each: values from 0 to 1, from the scene's truth.

A property of things is worth the fraction of a token's pixels that it covers, so that tokens at an outline have it
partly. Places and times are 0 or 1. "bright" and "rough" are smooth random fields, "near" is the coverage times the
nearness of the object. A token *has* a property if its value is at least a half (``HAS``).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from .scene import COLOURS, FAST, FRAMES, SIDE, SLOW, SOON, Mask, Scene, Thing

PATCH, TUBELET = 8, 2
GRID = (FRAMES // TUBELET, SIDE // PATCH, SIDE // PATCH)
HAS = 0.5
PLACES = ("left", "right", "top", "bottom", "centre")
TIMES = ("early", "late", "start", "end")
GRADED = ("bright", "rough", "near")
LOOKS = (*COLOURS, "disc", "square", "small", "large")
WAYS = ("rightward", "leftward", "downward", "upward")
EVENTS = (
    "object", "moving", "still", "slow", "fast", "occluder", "container", "occluded", "about to be covered",
    "just uncovered", "about to collide", "just collided", "contained",
)  # fmt: skip
NAMES = (*PLACES, *TIMES, *GRADED, *LOOKS, *WAYS, *EVENTS)

Values = Float[np.ndarray, "property time height width"]


def values(scene: Scene, rng: np.random.Generator) -> Values:
    """float64: every property of ``NAMES`` in every token. rng: of the fields and of how near the objects are."""
    grid = _positions()
    nearness = dict(zip(scene.things, rng.permutation(np.linspace(0.25, 1, len(scene.things))), strict=True))
    near = sum(nearness[name] * covered(thing.seen) for name, thing in scene.things.items())
    fields = {"bright": _field(rng), "rough": _field(rng), "near": np.minimum(near, 1)}
    masks = pixel_masks(scene)
    return np.stack([grid[n] if n in grid else fields[n] if n in fields else covered(masks[n]) for n in NAMES])


def pixel_masks(scene: Scene) -> dict[str, Mask]:
    """Where each look, way and event is, in pixels."""
    things = list(scene.things.values())
    out = {word: _any(t.seen for t in things if word in (t.colour, t.shape, t.size)) for word in LOOKS}
    for name, (axis, sign) in zip(WAYS, ((1, 1), (1, -1), (0, 1), (0, -1)), strict=True):
        out[name] = _any(_when(t, np.sign(t.velocity[:, axis]) == sign) for t in things)
    speeds = {"still": 0, "slow": SLOW, "fast": FAST}
    for name, speed in speeds.items():
        out[name] = _any(_when(t, np.abs(t.velocity).max(1) == speed) for t in things)
    out["object"] = _any(t.seen for t in things)
    out["moving"] = out["slow"] | out["fast"]
    out["occluder"], out["container"] = scene.occluder, scene.container
    a, frame = scene.things["A"], np.arange(FRAMES)
    covered_now = scene.hidden >= HAS
    soon = np.array([covered_now[t + 1 : t + 1 + SOON].any() for t in frame])
    before = np.array([covered_now[max(t - SOON, 0) : t].any() for t in frame])
    out["occluded"] = a.whole & scene.occluder
    out["about to be covered"] = _when(a, ~covered_now & soon)
    out["just uncovered"] = _when(a, ~covered_now & before)
    pair, d = [scene.things["B"], scene.things["C"]], scene.things["D"]
    hit = scene.collision
    out["about to collide"] = _any(_when(t, (frame < hit) & (frame >= hit - SOON)) for t in pair)
    out["just collided"] = _any(_when(t, (frame >= hit) & (frame < hit + SOON)) for t in pair)
    out["contained"] = _when(d, frame >= scene.inside)
    return out


def covered(mask: Mask) -> Float[np.ndarray, "time height width"]:
    """The fraction of each token's pixels."""
    time, height, width = GRID
    return mask.reshape(time, TUBELET, height, PATCH, width, PATCH).mean((1, 3, 5))


def _positions() -> dict[str, np.ndarray]:
    """Places and times: 0 or 1."""
    t, y, x = np.indices(GRID)
    frames, rows, columns = GRID
    inner = (y >= 1) & (y < rows - 1) & (x >= 1) & (x < columns - 1)
    masks = {
        "left": x < columns / 2, "right": x >= columns / 2, "top": y < rows / 2, "bottom": y >= rows / 2,
        "centre": inner, "early": t < frames / 2, "late": t >= frames / 2, "start": t < frames / 4,
        "end": t >= frames - frames / 4,
    }  # fmt: skip
    return {name: mask.astype(float) for name, mask in masks.items()}


def _field(rng: np.random.Generator) -> Float[np.ndarray, "time height width"]:
    """A smooth random field with values spread evenly over 0 to 1."""
    field = gaussian_filter(rng.standard_normal(GRID), (2, 1, 1), mode="wrap")
    order = np.argsort(field, axis=None).argsort().reshape(GRID)
    return order / (order.size - 1)


def _when(thing: Thing, frames: np.ndarray) -> Mask:
    return thing.seen & frames[:, None, None]


def _any(masks: Iterable[Mask]) -> Mask:
    return np.logical_or.reduce([np.zeros((FRAMES, SIDE, SIDE), bool), *masks])
