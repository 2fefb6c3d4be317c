"""A concept in a clip as a file: for slides, papers and messages."""

from __future__ import annotations

import os

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts import Concepts
from vtcd_jax.data.clips import ClipSource
from vtcd_jax.data.encode import check_suffix, write_video

from .overlays import Colour, colour_of, display, overlay


def save_clip(
    concepts: Concepts,
    concept: int,
    clips: ClipSource,
    path: str | os.PathLike,
    *,
    video: int | None = None,
    colour: Colour | None = None,
    beside: bool = False,
    fps: float = 12.0,
) -> None:
    """Writes a clip with a concept tinted and outlined, as mp4, webm or gif by the suffix of ``path``.

    concepts, concept: as ``discover`` or ``assign`` gave them, and its number.
    clips:             those of the concepts.
    video:             number of the clip; None: the one that shows the concept most.
    colour:            RGB; None: orange.
    beside:            the clip as it is on the left of it.

    Small clips are enlarged by a whole number. Raises InputError for another suffix, for other clips, for a concept or
    clip that is not there, and for a concept that no clip has.
    """
    check_suffix(path)
    _, shown, drawn = drawn_clip(concepts, concept, clips, video, colour)
    write_video(path, np.concatenate([shown, drawn], axis=2) if beside else drawn, fps)


def drawn_clip(
    concepts: Concepts, concept: int, clips: ClipSource, video: int | None = None, colour: Colour | None = None
) -> tuple[int, np.ndarray, np.ndarray]:
    """(number of the clip, its frames at display size, the same with the concept), uint8 [time, height, width, 3].

    Arguments and errors as for ``save_clip``.
    """
    if tuple(clips.hashes) != concepts.video_hashes:
        raise InputError("these are not the clips of the concepts; give those of `discover`, or `assign` on others")
    best = concepts.best_clips(concept, 1)
    if video is None and not len(best):
        raise InputError(f"no clip has concept {concept} ({concepts.names[concept]})")
    chosen = int(best[0]) if video is None else video
    if not 0 <= chosen < len(clips):
        raise InputError(f"clip {chosen} is out of range; there are {len(clips)}")
    shown, mask = display(clips.read([chosen]).video[0], concepts.support(concept, [chosen])[0])
    return chosen, shown, overlay(shown, mask, colour_of(0) if colour is None else colour)
