"""Tables of concepts in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtcd_jax.runs import write_csv

from ..evaluation.mask_overlaps import MaskOverlap, upper
from ..types import Concepts

OVERLAP_COLUMNS = (
    "mask",
    "concept",
    "name",
    "miou",
    "se",
    "half_width",
    "centres_mean",
    "centres_95",
    "groups_mean",
    "groups_95",
)


def write_overlaps(path: str | Path, concepts: Concepts, overlaps: Sequence[MaskOverlap]) -> None:
    """A row per true mask; no file where there are none."""
    rows = []
    for o in overlaps:
        controls = (f(draws) for draws in (o.centres, o.groups) for f in (np.mean, upper))
        values = (
            o.mask,
            o.concept,
            concepts.names[o.concept],
            o.miou,
            o.se,
            o.half_width,
            *(float(c) for c in controls),
        )
        rows.append(dict(zip(OVERLAP_COLUMNS, values, strict=True)))
    if rows:
        write_csv(path, rows, OVERLAP_COLUMNS)
