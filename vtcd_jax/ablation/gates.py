"""Gates as users give them, and their checks: the right width, finite numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtcd_jax.ablation.design import Design, Explicit
from vtcd_jax.models import InputError

from .support import Support

Gates = Design | np.ndarray | Sequence[Sequence[float]]
"""A design, or gates [mask, concept] (1 kept, 0 removed), the same for every clip."""


def as_design(design: Gates, concepts: int) -> Design:
    """Gates as a design for this number of concepts.

    Raises InputError for gates that are not finite numbers [mask, concept], and for a design of another number of
    concepts.
    """
    if not isinstance(design, Design):
        design = Explicit(_array(design))
    if isinstance(design, Explicit):
        check_gates(np.asarray(design.gates), concepts)
    for name in ("concepts", "groups"):  # of designs that are made for a number of concepts
        size = getattr(design, name, None)
        expected = size if size is None or isinstance(size, int) else len(size)
        if expected is not None and expected != concepts:
            raise InputError(f"the design is made for {expected} concepts, but there are {concepts}; make a new design")
    return design


def padded_columns(gates: np.ndarray) -> np.ndarray:
    """Gates [..., concept] with ones beyond the concepts, up to 256, 512, …: other numbers of concepts then mostly run
    in a program that is compiled already. No position points to these columns, so they change no result."""
    concepts = gates.shape[-1]
    size = max(256, 1 << max(concepts - 1, 0).bit_length())
    return np.pad(gates, [(0, 0)] * (gates.ndim - 1) + [(0, size - concepts)], constant_values=1)


def _array(gates: object) -> np.ndarray:
    try:
        return np.asarray(gates, np.float32)
    except (TypeError, ValueError):
        raise InputError(f"gates must be a design or numbers [mask, concept]; got {type(gates).__name__}") from None


def check_gates(gates: np.ndarray, concepts: int) -> None:
    """Raises InputError for gates that are not [mask, concept], have another number of concepts or are not finite."""
    if gates.ndim != 2 or not len(gates):
        raise InputError(f"gates must be [mask, concept] with at least one mask; got {list(gates.shape)}")
    if gates.shape[1] != concepts:
        raise InputError(
            f"gates have {gates.shape[1]} columns, but there are {concepts} concepts; give one column per concept"
        )
    if not np.isfinite(gates).all():
        raise InputError("gates must be numbers, 0 (removed) to 1 (kept); some are NaN or infinite")


def rows_of(design: Design, support: Support, clip_hash: str, start: int, stop: int, present: np.ndarray) -> np.ndarray:
    """float32 gates [stop - start, concept] of a clip, checked, and closed under parts. present: bool [concept]."""
    rows = np.asarray(design.rows(clip_hash, start, stop, present), np.float32)
    check_gates(rows, len(present))
    if len(rows) != stop - start:
        raise InputError(f"the design gave {len(rows)} rows of gates instead of {stop - start}")
    return support.closed(rows)
