"""The exception for wrong input, with its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input or usage. Its message names the file or the value, and the remedy, in one or two lines."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> str:
    """The ``count`` entries of ``names`` most like ``name``, quoted and joined for an error message."""
    names = list(names)
    lowered = {candidate.lower(): candidate for candidate in reversed(names)}
    close = difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.0)
    return ", ".join(repr(lowered[c]) for c in close)
