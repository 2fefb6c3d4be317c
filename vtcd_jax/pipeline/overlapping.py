"""The overlap of concepts with true masks, where clips have them: chosen on some clips, judged on others."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.concepts import Concepts, best_overlap, random_overlaps

from .scoring import Progress
from .settings import RunSettings
from .sources import Prepared


@dataclass(frozen=True)
class Overlap:
    """The concept chosen on the ranked clips for its overlap with a true mask, judged on others.

    mask: its name.  concept: id.  miou, se: mean IoU with its standard error.  random: float [draw], mean IoU of the
    best of as many random tubelet groups, chosen the same way.
    """

    mask: str
    concept: int
    miou: float
    se: float
    random: np.ndarray


def overlap_stage(
    settings: RunSettings,
    prepared: Prepared,
    concepts: Concepts,
    here: Concepts,
    key: jax.Array,
    progress: Progress | None = None,
) -> tuple[Overlap, ...]:
    """Best concept per true mask against the best of as many random groups, chosen on the ranked clips.

    here: the concepts on the judged clips.
    """
    judged = prepared.clips if prepared.held_out is None else prepared.held_out
    rows = []
    both = {
        name: (chosen, judged.masks[name])
        for name, chosen in prepared.clips.masks.items()
        if chosen.any() and name in judged.masks and judged.masks[name].any()
    }
    if progress and both:
        progress("overlaps", 0, len(both))
    for done, (name, (choosing, masks)) in enumerate(both.items(), 1):
        best = best_overlap(concepts, choosing, here, masks)
        draws = random_overlaps(concepts, choosing, here, masks, draws=settings.controls, key=key)
        rows.append(Overlap(name, best.concept, best.held_out, best.se, draws))
        if progress:
            progress("overlaps", done, len(both))
    return tuple(rows)
