"""The clips of the page: videos in which each frame stands three times, stills, and when a concept is there.

video    mp4, [original; overlay; outline] from above: the page shows one third of it, so that a switch needs no
         further data
still    JPEG of the overlay in the frame that shows most of the concept: what is printed, and seen before a video
         is loaded
"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.data import ClipSource
from vtcd_jax.data.encode import encode_video

from .drawing import svg
from .overlays import Colour, colour_of, display, outline, overlay
from .types import ReportData
from .view import Card

VIEWS = ("original", "overlay", "outline")
QUALITIES = (22, 27, 32, 38, 45)  # x264's rate factor, tried in turn until a clip fits


@dataclass(frozen=True)
class Film:
    """A clip with a concept. video, still: data addresses.  presence: drawing of the frames that have it."""

    video: str
    still: str
    presence: str


def films(data: ReportData, cards: Sequence[Card], fps: float | int, max_bytes: int) -> dict[tuple[int, int], Film]:
    """(concept, clip) -> the film. max_bytes: of all of them together."""
    count = sum(len(card.clips) for card in cards)
    budget = max_bytes * 3 // 4 // max(count, 1)  # base64 takes four bytes for three
    found = {}
    for card in cards:
        concept = card.row.concept
        supports = data.concepts.support(concept, [shown.video for shown in card.clips])
        for shown, support in zip(card.clips, supports, strict=True):
            found[concept, shown.video] = film(data.clips.frames[shown.video], support, card.colour, fps, budget)
    return found


def film(frames: np.ndarray, support: np.ndarray, colour: Colour, fps: float | int, budget: int) -> Film:
    """frames: uint8 [time, height, width, 3].  support: bool, at any resolution.  budget: bytes."""
    shown, mask = display(frames, support)
    drawn = overlay(shown, mask, colour)
    still = _jpeg(drawn[int(mask.sum((1, 2)).argmax())])
    stacked = np.concatenate([shown, drawn, outline(shown, mask, colour)], axis=1)
    video = fitting(stacked, fps, budget - len(still))
    return Film(_address("video/mp4", video), _address("image/jpeg", still), presence(np.asarray(mask.any((1, 2)))))


def fitting(frames: np.ndarray, fps: float | int, budget: int) -> bytes:
    """The video of the highest quality with at most ``budget`` bytes; else that of the lowest quality."""
    videos = (encode_video(frames, fps, quality=quality) for quality in QUALITIES)
    data = b""
    for data in videos:
        if len(data) <= budget:
            break
    return data


def presence(there: np.ndarray) -> str:
    """A strip with a mark for each frame that has the concept. there: bool [time]."""
    width, step = 100.0, 100.0 / len(there)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], there.astype(int), [0]])))  # where runs begin and end
    marks = [
        svg.element("rect", x=first * step, y=0, width=(last - first) * step, height=4, class_="there")
        for first, last in edges.reshape(-1, 2).tolist()
    ]
    track = svg.element("rect", x=0, y=0, width=width, height=4, class_="track")
    label = f"in {int(there.sum())} of {len(there)} frames"
    return svg.element(
        "svg", track + "".join(marks), viewBox="0 0 100 4", preserveAspectRatio="none", role="img", aria_label=label,
        class_="presence",
    )  # fmt: skip


def _jpeg(picture: np.ndarray) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=72)
    return data.getvalue()


def _address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def film_seconds(clips: ClipSource) -> float:
    """Seconds of drawing and encoding one clip of the report."""
    frames = clips.read([0]).video[0]
    mask = np.zeros(frames.shape[:3], bool)
    mask[:, : frames.shape[1] // 2] = True
    film(frames, mask, colour_of(0), 8, 1 << 30)  # loads the encoder
    begun = time.perf_counter()
    film(frames, mask, colour_of(0), 8, 1 << 30)
    return time.perf_counter() - begun
