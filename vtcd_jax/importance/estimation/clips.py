"""Estimates of all clips of a ranking at once, for every design: alone, or joined from masks and slopes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtcd_jax.ablation.design import Design

from ..designs.slopes import Joined
from .estimators import Rows, Values, check_fits, estimate
from .formulas import Estimate, Shared
from .join import join
from .result import groups_of


def estimate_clips(
    estimator: str,
    design: Design | Joined,
    scores: np.ndarray | Sequence[Values],
    baseline: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    rows: Sequence[Rows] | None = None,
) -> tuple[list[Estimate], Shared | None]:
    """The estimate of every clip, and the error that they have in common, if they have one.

    scores:   of each clip, as ``estimate`` reads them; for ``Joined`` a pair, scores and slopes.
    baseline: [video], the score with nothing removed.  hashes: of the clips.  present: bool [video, concept].
    rows:     which rows of each clip to read; None: all that were run.
    Raises InputError as ``estimate`` does.
    """
    taken = [None] * len(hashes) if rows is None else rows
    clips = list(zip(scores, baseline, hashes, present, taken, strict=True))
    check_fits(estimator, design)
    if not isinstance(design, Joined):
        return [estimate(estimator, design, y, float(b), h, p, r) for y, b, h, p, r in clips], None  # type: ignore[arg-type]
    masks, slopes = (
        [estimate(name, own, y[part], float(b), h, p, None if r is None else r[part]) for y, b, h, p, r in clips]
        for part, (name, own) in enumerate((("contrast", design.masks), ("slope", design.slopes)))
    )
    return join(masks, slopes, groups_of(hashes))
