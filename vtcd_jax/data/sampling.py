"""Which frames of a clip are used: the first ones at a stride, or one from each of equally long segments.

    n  frames in the clip        T  frames the model takes        s  stride
    first:    f, f + s, f + 2s, ..., f + (T-1)s, from frame f on (0 unless told)
    uniform:  floor((i + 1/2) n / T), i = 0 .. T-1

"first" is what the released code of VTCD does (Kowal et al. 2024, "Understanding Video Transformers via Universal
Concept Discovery", CVPR); "uniform" takes the centres of Temporal Segment Networks (Wang et al. 2016, ECCV).

Frames are counted as they are decoded, so a variable frame rate changes nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vtcd_jax.base.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How frames become a clip of the model's length and size."""

    kind: Literal["first", "uniform"] = "first"
    """"first" takes the first frames at the stride; "uniform" takes the centre of equally long segments."""
    stride: int | None = None
    """Frame stride of "first"; default: the model's own."""
    start: int = 0
    """First frame of "first", counted from 0."""
    short: Literal["refuse", "repeat-last"] = "refuse"
    """What happens to a clip with too few frames: "repeat-last" fills the missing places with its last frame."""
    antialias: bool = True
    """Resize with a triangle filter as wide as the shrinking asks for, rather than with plain bilinear interpolation
    between four neighbours, which parity with plain bilinear code needs. Either way straight to the model's height and
    width; the aspect ratio is not kept."""

    def __post_init__(self) -> None:
        if self.kind not in ("first", "uniform"):
            raise InputError(f"sampling kind {self.kind!r} is unknown; take 'first' or 'uniform'")
        if self.short not in ("refuse", "repeat-last"):
            raise InputError(f"treatment of short clips {self.short!r} is unknown; take 'refuse' or 'repeat-last'")
        if self.stride is not None and self.stride < 1:
            raise InputError(f"sampling stride must be at least 1, got {self.stride}")
        if self.start < 0 or (self.start and self.kind != "first"):
            raise InputError(f"sampling start {self.start} must be at least 0, and goes with kind 'first' alone")


def first_indices(num_frames: int, stride: int, start: int = 0) -> list[int]:
    """Indices of ``num_frames`` frames at ``stride``, from ``start`` on."""
    return [start + stride * i for i in range(num_frames)]


def uniform_indices(count: int, num_frames: int) -> list[int]:
    """The central frame of each of ``num_frames`` equal segments of ``count`` frames; all if there are fewer."""
    if count < num_frames:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * num_frames) for i in range(num_frames)]


def needed(sampling: Sampling, num_frames: int, stride: int) -> int:
    """Frames a clip must have so that none is repeated."""
    return num_frames if sampling.kind == "uniform" else sampling.start + stride * (num_frames - 1) + 1


def too_short(name: str, count: int, sampling: Sampling, num_frames: int, stride: int) -> InputError:
    """The error for a clip with fewer frames than ``needed``."""
    what = f"{num_frames} frames"
    other = ""
    if sampling.kind == "first":
        what += f" at stride {stride}" + (f" from frame {sampling.start} on" if sampling.start else "")
        other = "take a smaller stride, sample uniformly, or "
    wanted = needed(sampling, num_frames, stride)
    return InputError(
        f"{name}: too short, it has {count} frames and {what} need {wanted}; {other}repeat its last frame"
        " (short = repeat-last)"
    )
