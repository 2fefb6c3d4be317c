"""Settings and long values as text for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LONGEST = 400  # characters of one setting, note or name that are shown


def shorten(text: str, longest: int = LONGEST) -> str:
    """The text, cut if it is longer."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as ("slic.compactness", "0.1") pairs, long values shortened."""
    pairs: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            pairs += flat_settings(value, f"{prefix}{key}.")
        else:
            pairs.append((shorten(f"{prefix}{key}"), shorten(_value(value))))
    return pairs


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_value(v) for v in value) or "none"
    return str(value)
