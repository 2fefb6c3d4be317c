"""Pictures of concepts: a strip of frames over time."""

from __future__ import annotations

import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.data import ClipSource
from vtcd_jax.report.saving import drawn_clip

from .axes import Axes, axes_or_new

GAP = 4  # white pixels between frames


def strip(
    concepts: Concepts,
    concept: int,
    clips: ClipSource,
    ax: Axes = None,
    *,
    video: int | None = None,
    frames: int = 8,
) -> Axes:
    """Frames of a clip from first to last, as they are above, with the concept tinted and outlined below.

    clips:  those of the concepts.  video: number of the clip; None: the one that shows the concept most.
    frames: how many, evenly over the clip.

    Raises InputError for other clips, for a concept or clip that is not there, and for a concept that no clip has.
    """
    chosen, shown, drawn = drawn_clip(concepts, concept, clips, video)
    at = np.linspace(0, len(shown) - 1, min(frames, len(shown))).round().astype(int)
    picture = np.concatenate([_row(shown[at]), _row(drawn[at])])
    ax = axes_or_new(ax, (1.5 * len(at), 3.2))
    ax.imshow(picture, interpolation="nearest")
    step = shown.shape[2] + GAP
    ax.set_xticks([i * step + shown.shape[2] / 2 for i in range(len(at))], [str(i) for i in at])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set(xlabel="frame", title=f"{concepts.titles[concept]} in {clips.names[chosen]}")
    return ax


def _row(frames: np.ndarray) -> np.ndarray:
    """uint8 [height, width, 3]: frames side by side."""
    padded = np.pad(frames, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)
