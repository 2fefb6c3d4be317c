"""Scenes of version 2: three lanes with events, in pixels, frame by frame.

    lane 1   object A passes behind an occluder          hidden for a while; before, it is about to be covered
    lane 2   object B runs into object C and stops       C moves on with B's speed
    lane 3   object D moves into a container and stays   contained from then on

Lanes are 16 pixels wide and come in random order; every second clip is transposed, so that movement is vertical. Every
lane may be mirrored; in each clip at least one is and one is not. Objects differ in colour, two are discs and two are
squares, two are small and two are large; of the three speeds one is slow, one fast, and one is either.

Axes of masks: [frame, row, column]; before the transposition [frame, across, along].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

SIDE, FRAMES, LANE = 48, 16, 16  # pixels; frames; pixels
SLOW, FAST = 2, 3  # pixels per frame
SMALL, LARGE = 12, 16  # pixels across
OCCLUDER, CONTAINER = 20, 20  # pixels along the lane
SOON = 6  # frames: how long "about to" and "just" last
COLOURS = {"red": (166, 110, 110), "green": (110, 166, 110), "blue": (110, 110, 166), "yellow": (150, 150, 90)}
THINGS = ("A", "B", "C", "D")

Mask = Bool[np.ndarray, "frame row column"]


@dataclass(frozen=True)
class Thing:
    """A moving object.

    whole:   where it is, hidden or not.   seen: where it is seen.
    colour, shape, size: "red" …; "disc" or "square"; "small" or "large".
    velocity: int [frame, 2], pixels to the next frame, down and right (of the last frame: from the one before).
    """

    whole: Mask
    seen: Mask
    colour: str
    shape: str
    size: str
    velocity: np.ndarray


@dataclass(frozen=True)
class Scene:
    """What happens in a clip.

    things:    name of ``THINGS`` -> object.
    occluder, container: where they are seen.
    hidden:    float [frame], fraction of A that the occluder hides.
    collision: the first frame after the contact of B and C.
    inside:    the first frame in which D rests in the container.
    """

    things: dict[str, Thing]
    occluder: Mask
    container: Mask
    hidden: np.ndarray
    collision: int
    inside: int


def scene(rng: np.random.Generator, number: int) -> Scene:
    """Draws the scene of clip ``number`` of a set."""
    lanes = [LANE * int(i) for i in rng.permutation(3)]
    mirrored = rng.permutation([True, False, bool(rng.integers(2))])
    speeds = rng.permutation([SLOW, FAST, int(rng.choice([SLOW, FAST]))])
    sizes = dict(zip(THINGS, rng.permutation([SMALL, SMALL, LARGE, LARGE]), strict=True))
    a, occluder, hidden = _passing(rng, int(speeds[0]), int(sizes["A"]))
    b, c, collision = _colliding(rng, int(speeds[1]), int(sizes["B"]), int(sizes["C"]))
    d, container, inside = _entering(rng, int(speeds[2]), int(sizes["D"]))
    along = {"A": a, "B": b, "C": c, "D": d}
    lane_of = {"A": 0, "B": 1, "C": 1, "D": 2}
    colours, shapes = rng.permutation(list(COLOURS)), rng.permutation(["disc", "disc", "square", "square"])
    turn = bool(number % 2)
    bar = _placed(_box(occluder, OCCLUDER, LANE), lanes[0], bool(mirrored[0]), turn)
    box = _placed(_box(container, CONTAINER, LANE), lanes[2], bool(mirrored[2]), turn)
    things = {}
    for i, name in enumerate(THINGS):
        lane, size = lane_of[name], int(sizes[name])
        flip = bool(mirrored[lane])
        whole = _placed(_outline(along[name], size, str(shapes[i])), lanes[lane], flip, turn)
        velocity = np.stack([np.zeros(FRAMES, int), _velocity(along[name]) * (-1 if flip else 1)], 1)
        things[name] = Thing(
            whole, whole & ~bar, str(colours[i]), str(shapes[i]), "small" if size == SMALL else "large",
            velocity[:, ::-1] if turn else velocity,
        )  # fmt: skip
    return Scene(things, bar, box & ~things["D"].whole, hidden, collision, inside)


def _passing(rng: np.random.Generator, speed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A's left edge [frame], the occluder's, and the hidden fraction of A's extent."""
    left = int(rng.integers(12, SIDE - OCCLUDER - 11))
    middle = left + (OCCLUDER - size) // 2
    when = int(rng.integers(6, 10))
    edge = middle + speed * (np.arange(FRAMES) - when)
    overlap = np.minimum(edge + size, left + OCCLUDER) - np.maximum(edge, left)
    return edge, np.full(FRAMES, left), np.clip(overlap, 0, size) / size


def _colliding(rng: np.random.Generator, speed: int, size_b: int, size_c: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Left edges of B and C, and the first frame after their contact."""
    contact = int(rng.integers(5, 9))
    rest = int(rng.integers(18, SIDE - size_c - 7))  # of C
    t = np.arange(FRAMES)
    b = rest - size_b + speed * np.minimum(t - contact, 0)
    c = rest + speed * np.maximum(t - contact, 0)
    return b, c, contact + 1


def _entering(rng: np.random.Generator, speed: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Left edges of D and of the container, and the first frame in which D rests there."""
    left = int(rng.integers(20, SIDE - CONTAINER + 1))
    inside = int(rng.integers(6, 10))
    edge = left + (CONTAINER - size) // 2 + speed * np.minimum(np.arange(FRAMES) - inside, 0)
    return edge, np.full(FRAMES, left), inside


def _velocity(edge: np.ndarray) -> np.ndarray:
    steps = np.diff(edge)
    return np.append(steps, steps[-1])


def _box(left: np.ndarray, along: int, across: int) -> Bool[np.ndarray, "frame across along"]:
    x = np.arange(SIDE)
    mask = (x >= left[:, None]) & (x < left[:, None] + along)
    return np.broadcast_to(mask[:, None], (FRAMES, across, SIDE))


def _outline(left: np.ndarray, size: int, shape: str) -> Bool[np.ndarray, "frame across along"]:
    """A square or a disc in the middle of its lane."""
    y, x = np.arange(LANE) + 0.5 - LANE / 2, np.arange(SIDE) + 0.5 - left[:, None] - size / 2
    if shape == "square":
        return (np.abs(y) <= size / 2)[None, :, None] & (np.abs(x) <= size / 2)[:, None]
    return (y**2)[None, :, None] + (x**2)[:, None] <= (size / 2) ** 2


def _placed(in_lane: np.ndarray, top: int, mirror: bool, turn: bool) -> Mask:
    """A lane's mask in the picture."""
    out = np.zeros((FRAMES, SIDE, SIDE), bool)
    out[:, top : top + LANE] = in_lane[..., ::-1] if mirror else in_lane
    return out.swapaxes(1, 2).copy() if turn else out
