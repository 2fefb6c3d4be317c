"""The frames that the report shows, saved in the run, so that the page needs neither model nor clips."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import replacing
from vtcd_jax.concepts import Concepts, MaskOverlap
from vtcd_jax.data import ClipSource
from vtcd_jax.importance import Importance

CLIPS_EACH = 6  # clips of a card


def shown_concepts(importance: Importance, overlaps: Sequence[MaskOverlap], top: int) -> list[int]:
    """Concepts with a card, by rank: the ``top`` most important, and those of the overlap table."""
    extra = {overlap.concept for overlap in overlaps}
    return [int(c) for rank, c in enumerate(importance.order()) if rank < top or int(c) in extra]


def shown_clips(
    concepts: Concepts, importance: Importance, overlaps: Sequence[MaskOverlap], *, top: int, each: int = CLIPS_EACH
) -> list[int]:
    """Clips on the cards, sorted: for each shown concept the clips that contain most of it."""
    shown = shown_concepts(importance, overlaps, top)
    return sorted({int(video) for concept in shown for video in concepts.best_clips(concept, each)})


def save_frames(path: str | Path, clips: ClipSource, videos: Sequence[int]) -> None:
    """Writes the frames of some clips, compressed, whole or not at all."""
    arrays = {str(video): clips.read([video]).video[0] for video in videos}
    with replacing(Path(path)) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_frames(path: str | Path) -> dict[int, np.ndarray]:
    """Number of a clip -> uint8 [time, height, width, 3]. Raises InputError for a missing or damaged file."""
    try:
        with np.load(io.BytesIO(Path(path).read_bytes())) as archive:
            return {int(video): archive[video] for video in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; run `vtcd curves` first") from None
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: is damaged ({error}); run `vtcd curves` again") from None
