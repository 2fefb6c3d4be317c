"""The MLPs of the planted network, from GELUs with inputs so large that they act as max(0, x).

    |x|      = gelu(x) + gelu(-x)
    step(x)  = gelu(u) - gelu(u - 1),  u = (x - at) / width + 1/2:  0 below at - width / 2, 1 above at + width / 2

Motion. Stripes of period P that move by P / 4 per frame to the right change their projections on cosine and sine from
(c, s) to (-s, c), to the left to (s, -c). With the two frames' projections (c₁, s₁) and (c₂, s₂)

    motion = (|c₁ + s₂| + |s₁ - c₂| - |c₁ - s₂| - |s₁ + c₂|) / 2

is |c| + |s| for the right, minus that for the left, and 0 for still objects: opponent motion energy with absolute
values instead of squares.
Adelson & Bergen (1985), "Spatiotemporal energy models for the perception of motion", JOSA A 2(2).
"""

from __future__ import annotations

from typing import NamedTuple

from .stream import Amounts, Row, read, write

SHARPNESS = 30.0  # the bend of a GELU is 30 times narrower than the step


class Unit(NamedTuple):
    """A hidden unit: what it reads from a layer norm's result, its bias, and what its output writes."""

    reads: Row
    bias: float
    writes: Row


def first_units() -> list[Unit]:
    """Motion and colours of the embedded patches; colours as 0 or 1 (at least half covered)."""
    units: list[Unit] = []
    for direction in (1.0, -1.0):
        units += _magnitude({"cosine_1": 1, "sine_2": direction}, {"motion": direction / 2})
        units += _magnitude({"sine_1": 1, "cosine_2": -direction}, {"motion": direction / 2})
    for name in ("red", "green", "blue"):
        units += _step({f"chroma_{name}": 1}, at=0.485, width=0.02, writes=name)
    return units


def second_units() -> list[Unit]:
    """Right and left: 1 if a patch is coloured *and* moves in this direction."""
    coloured = {"red": 2.0, "green": 2.0, "blue": 2.0}
    units = _step({"motion": 1, **coloured}, at=2.05, width=0.04, writes="right")
    return units + _step({"motion": -1, **coloured}, at=2.05, width=0.04, writes="left")


def _magnitude(of: Amounts, writes: Amounts) -> list[Unit]:
    return [Unit(sign * SHARPNESS * read(of), 0.0, write(writes) / SHARPNESS) for sign in (1, -1)]


def _step(of: Amounts, at: float, width: float, writes: str) -> list[Unit]:
    row, one = SHARPNESS / width * read(of), write({writes: 1}) / SHARPNESS
    start = SHARPNESS * (0.5 - at / width)
    return [Unit(row, start, one), Unit(row, start - SHARPNESS, -one)]
