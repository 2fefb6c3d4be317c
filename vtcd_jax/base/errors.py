"""The exception for wrong input, with its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input or usage. Its message names the file or the value, and the remedy, in one or two lines."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> str:
    """The ``count`` entries of ``names`` most like ``name``, quoted and joined for an error message.

    First those that begin with it, then those that hold it, then by the edits between them; letter case does not count.
    """
    names = list(names)
    lowered = {candidate.lower(): candidate for candidate in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lowered, n=len(lowered) or 1, cutoff=0.0)
    first = sorted(close, key=lambda other: 0 if other.startswith(name.lower()) else 1 if name.lower() in other else 2)
    return ", ".join(repr(lowered[c]) for c in first[:count])
