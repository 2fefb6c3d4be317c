"""Tables of concepts in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtcd_jax.runs import write_csv

from ..overlaps import MaskOverlap
from ..types import Concepts

OVERLAP_COLUMNS = ("mask", "concept", "name", "miou", "se", "random_mean", "random_95")


def write_overlaps(path: str | Path, concepts: Concepts, overlaps: Sequence[MaskOverlap]) -> None:
    """A row per true mask; no file where there are none."""
    rows = []
    for o in overlaps:
        values = (o.mask, o.concept, concepts.names[o.concept], o.miou, o.se, float(o.random.mean()), o.random_95)
        rows.append(dict(zip(OVERLAP_COLUMNS, values, strict=True)))
    if rows:
        write_csv(path, rows, OVERLAP_COLUMNS)
