"""Motion in the synthetic world: one trajectory planner per class.

Lengths are in units of 1/48 of the frame, x to the right, y down, and name centres. Everything the class does
not decide (sizes, kind of prop, onset, ...) is drawn first, as a ``Layout``, in the same way for every class:
a single frame should not give it away. For one seed "left to right" is "right to left" run backwards.

    target   the object that the class is about
    second   another object, in half of the clips, in every collision
    prop     an occluder (upright rectangle) or a container (dark opening above a front wall), in every clip
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial

import numpy as np

CLASSES = (
    "Rolling something from left to right",
    "Rolling something from right to left",
    "Dropping something into something",
    "Dropping something behind something",
    "Dropping something in front of something",
    "Passing behind something",
    "Passing in front of something",
    "Two objects colliding",
    "Covering something and carrying it along",
    "Picking something up",
    "Something approaching",
    "Something moving away",
    "Camera panning",
    "Something staying still",
)
FRAME = 48.0
PAN = 18.0  # longest camera path


class Layer(IntEnum):
    """Depth order of all visible objects, far to near."""

    BACKGROUND = 0
    SECOND = 1
    TARGET_BEHIND = 2
    PROP_BACK = 3  # a container's opening and rim
    TARGET_INSIDE = 4
    PROP_FRONT = 5  # an occluder, or a container's front wall
    TARGET_FRONT = 6


@dataclass(frozen=True)
class Layout:
    """The random draws common to all classes."""

    frames: int
    target: float  # diameter
    second: float
    has_second: bool
    container: bool
    prop_width: float
    prop_height: float
    front_wall: float  # fraction of the container's height
    onset: int  # last frame before things move
    end: int  # first frame at which they have arrived
    sign: int  # -1 or 1, for classes that go both ways
    low: bool  # whether the target's row is the lower one


@dataclass(frozen=True)
class Plan:
    """Positions of all objects [time], in units; ``layer`` is the target's depth slot."""

    target_x: np.ndarray
    target_y: np.ndarray
    prop_x: np.ndarray
    prop_y: np.ndarray
    layer: Layer
    target_diameter: np.ndarray
    second_x: np.ndarray | None = None
    second_y: np.ndarray | None = None
    camera_x: np.ndarray | float = 0.0
    camera_y: np.ndarray | float = 0.0
    events: dict[str, int] = field(default_factory=dict)


def draw_layout(rng: np.random.Generator, label: int, frames: int) -> Layout:
    """Random sizes, times and directions; ``label`` only sets what its class requires."""
    target, second = rng.uniform(15, 19), rng.uniform(13, 16)
    has_second, container, flip, low = rng.random(4) < 0.5
    width, height = target + rng.uniform(2.5, 6.0), target + rng.uniform(3.0, 6.0)
    step = (frames - 1) / 15
    return Layout(
        frames=frames,
        target=target,
        second=second,
        has_second=bool(has_second) or label == _COLLIDING,
        container=bool(container) or label in _NEEDS_CONTAINER,
        prop_width=width,
        prop_height=height,
        front_wall=rng.uniform(0.5, 0.66),
        onset=round(rng.uniform(0, 3.4) * step),
        end=round(rng.uniform(11, 15) * step),
        sign=1 if flip else -1,
        low=bool(low),
    )


def plan(rng: np.random.Generator, label: int, layout: Layout) -> Plan:
    """Trajectories of class ``label``."""
    return _PLANNERS[label](rng, layout)


def place_second(rng: np.random.Generator, layout: Layout, plan: Plan) -> tuple[float, float]:
    """Of 16 random still places the one farthest from the paths of target and prop (it may be tight)."""
    places = rng.uniform(3, FRAME - 3, (16, 2))

    def clearance(x, y, reach):
        gap = np.hypot(places[:, :1] - np.broadcast_to(x, layout.frames), places[:, 1:] - y)
        return (gap - reach).min(axis=1)

    target = clearance(plan.target_x, plan.target_y, (plan.target_diameter + layout.second) / 2)
    prop = clearance(plan.prop_x, plan.prop_y, (layout.prop_width + layout.second) / 2)
    x, y = places[np.argmax(np.minimum(target, prop))]
    return float(x), float(y)


def _ramp(start: int, end: int, frames: int, power: float = 1.0) -> np.ndarray:
    """0 up to frame ``start``, 1 from frame ``end`` on; ``power`` 2 accelerates like a fall."""
    return np.clip((np.arange(frames) - start) / (end - start), 0.0, 1.0) ** power


def _still(value: float, layout: Layout) -> np.ndarray:
    return np.full(layout.frames, float(value))


def _rows(rng: np.random.Generator, layout: Layout) -> tuple[float, float]:
    """(target's y, prop's y) such that they do not meet, one in the upper and one in the lower half."""
    target = FRAME - layout.target / 2 - rng.uniform(0, 5)
    prop = target - (layout.target + layout.prop_height) / 2 - rng.uniform(0, 2)
    return (target, prop) if layout.low else (FRAME - target, FRAME - prop)


def _make(layout: Layout, target, prop, layer: Layer, events: dict[str, int], diameter=None, **rest) -> Plan:
    """A ``Plan`` from numbers or arrays [time]."""
    tx, ty, px, py = (np.broadcast_to(np.asarray(v, float), layout.frames) for v in (*target, *prop))
    size = _still(layout.target, layout) if diameter is None else diameter
    return Plan(tx, ty, px, py, layer, size, events=events, **rest)


def _backwards(layout: Layout, forward: Plan) -> Plan:
    """The same plan with time reversed; a contact becomes the moment of departure and is no event."""
    last = layout.frames - 1
    return replace(
        forward,
        target_x=forward.target_x[::-1],
        target_y=forward.target_y[::-1],
        target_diameter=forward.target_diameter[::-1],
        events={"onset": last - forward.events["end"], "end": last - forward.events["onset"]},
    )


def _moves(layout: Layout, **more: int) -> dict[str, int]:
    return {"onset": layout.onset, "end": layout.end, **more}


def _roll_right(rng: np.random.Generator, layout: Layout) -> Plan:
    middle, reach = rng.uniform(14, 34), rng.uniform(7, 13)
    x = middle + reach * (2 * _ramp(layout.onset, layout.end, layout.frames) - 1)
    y, prop_y = _rows(rng, layout)
    return _make(layout, (x, y), (rng.uniform(12, 36), prop_y), Layer.TARGET_FRONT, _moves(layout))


def _roll_left(rng: np.random.Generator, layout: Layout) -> Plan:
    return _backwards(layout, _roll_right(rng, layout))


def _drop(rng: np.random.Generator, layout: Layout, layer: Layer) -> Plan:
    """A fall onto the prop's foot; how deep the target ends does not depend on the layer."""
    prop_x, foot = rng.uniform(14, 34), rng.uniform(40, 47)
    prop_y = foot - layout.prop_height / 2
    x = prop_x + rng.uniform(-1.5, 1.5)
    end = min(layout.onset + round(rng.uniform(6, 10) * (layout.frames - 1) / 15), layout.frames - 1)
    rest = foot - layout.target / 2 - rng.uniform(0, 3)
    start = min(rng.uniform(2, 9), rest - 16)
    y = start + (rest - start) * _ramp(layout.onset, end, layout.frames, 1.6)
    events = {"onset": layout.onset, "end": end, "contact": end}
    return _make(layout, (x, y), (prop_x, prop_y), layer, events)


def _pick_up(rng: np.random.Generator, layout: Layout) -> Plan:
    """A fall into, behind or in front of the prop, run backwards."""
    choices = [Layer.TARGET_BEHIND, Layer.TARGET_FRONT] + [Layer.TARGET_INSIDE] * layout.container
    return _backwards(layout, _drop(rng, layout, choices[rng.integers(len(choices))]))


def _pass(rng: np.random.Generator, layout: Layout, layer: Layer) -> Plan:
    prop_x, prop_y = rng.uniform(21, 27), rng.uniform(14, 34)
    y = prop_y + rng.uniform(-1, 1) * (layout.prop_height - layout.target) / 2
    reach = (layout.prop_width + layout.target) / 2 * rng.uniform(0.9, 1.1)
    x = prop_x + layout.sign * reach * (2 * _ramp(layout.onset, layout.end, layout.frames) - 1)
    return _make(layout, (x, y), (prop_x, prop_y), layer, _moves(layout))


def _collide(rng: np.random.Generator, layout: Layout) -> Plan:
    y, prop_y = _rows(rng, layout)
    step = (layout.frames - 1) / 15
    contact = layout.onset + round(rng.uniform(3.5, 6.5) * step)
    hit = 24 + layout.sign * rng.uniform(0, 6)
    touching = hit - layout.sign * (layout.target + layout.second) / 2
    x = touching - layout.sign * rng.uniform(7, 11) * (1 - _ramp(layout.onset, contact, layout.frames))
    second_x = hit + layout.sign * rng.uniform(10, 16) * _ramp(contact, max(layout.end, contact + 4), layout.frames)
    return _make(
        layout,
        (x, y),
        (rng.uniform(12, 36), prop_y),
        Layer.TARGET_FRONT,
        _moves(layout, contact=contact),
        second_x=second_x,
        second_y=_still(y, layout),
    )


def _cover(rng: np.random.Generator, layout: Layout) -> Plan:
    """The container comes down over the target, then both go sideways together."""
    foot, distance = rng.uniform(34, 46), rng.uniform(12, 20)
    contact = layout.onset + max(2, round(rng.uniform(3, 5) * (layout.frames - 1) / 15))
    carried = layout.sign * distance * (_ramp(contact, layout.frames - 1, layout.frames) - 0.5)
    x = 24 + rng.uniform(-4, 4) + carried
    y, prop_y = foot - layout.target / 2 - 1, foot - layout.prop_height / 2
    away = 1 - _ramp(layout.onset, contact, layout.frames)
    prop = (x + rng.uniform(-8, 8) * away, prop_y - rng.uniform(20, 26) * away)
    events = {"onset": layout.onset, "end": layout.frames - 1, "contact": contact}
    return _make(layout, (x, y), prop, Layer.TARGET_BEHIND, events)


def _approach(rng: np.random.Generator, layout: Layout) -> Plan:
    grow = _ramp(layout.onset, layout.end, layout.frames)
    diameter = layout.target * (0.65 + (rng.uniform(1.25, 1.5) - 0.65) * grow)
    prop = (rng.uniform(8, 40), rng.uniform(8, 40))
    target = (rng.uniform(15, 33), rng.uniform(15, 33))
    return _make(layout, target, prop, Layer.TARGET_FRONT, _moves(layout), diameter=diameter)


def _move_away(rng: np.random.Generator, layout: Layout) -> Plan:
    return _backwards(layout, _approach(rng, layout))


def _stay(rng: np.random.Generator, layout: Layout) -> Plan:
    """At rest apart from the prop, or half behind, inside or in front of it, as in other classes."""
    x = rng.uniform(14, 34)
    if rng.random() < 0.5:
        y, prop_y = _rows(rng, layout)
        return _make(layout, (x, y), (rng.uniform(12, 36), prop_y), Layer.TARGET_FRONT, {})
    y = rng.uniform(14, 34)
    layers = [Layer.TARGET_BEHIND, Layer.TARGET_FRONT] + [Layer.TARGET_INSIDE] * layout.container
    layer = layers[rng.integers(len(layers))]
    shift = rng.uniform(0.5, 0.9) * (layout.prop_width + layout.target) / 2
    along = (shift, 0.0) if layer != Layer.TARGET_INSIDE and rng.random() < 0.5 else (0.0, abs(shift))
    sign = layout.sign if along[1] == 0 else 1
    return _make(layout, (x, y), (x + sign * along[0], y + along[1]), layer, {})


def _pan(rng: np.random.Generator, layout: Layout) -> Plan:
    """A still scene; the camera goes sideways (mostly), up or down, about the middle of its path."""
    scene = _stay(rng, layout)
    path = rng.uniform(10, PAN) * layout.sign * (_ramp(layout.onset, layout.end, layout.frames) - 0.5)
    rest = rng.uniform(-0.3, 0.3) * path
    x, y = (path, rest) if rng.random() < 0.7 else (rest, path)
    return replace(scene, camera_x=x, camera_y=y, events=_moves(layout))


_PLANNERS = (
    _roll_right,
    _roll_left,
    partial(_drop, layer=Layer.TARGET_INSIDE),
    partial(_drop, layer=Layer.TARGET_BEHIND),
    partial(_drop, layer=Layer.TARGET_FRONT),
    partial(_pass, layer=Layer.TARGET_BEHIND),
    partial(_pass, layer=Layer.TARGET_FRONT),
    _collide,
    _cover,
    _pick_up,
    _approach,
    _move_away,
    _pan,
    _stay,
)
_COLLIDING = CLASSES.index("Two objects colliding")
_NEEDS_CONTAINER = (
    CLASSES.index("Dropping something into something"),
    CLASSES.index("Covering something and carrying it along"),
)
