"""A run from clips to report: what is computed when, and which files of a run folder hold it.

    clips ──discover──▶ concepts ──rank──▶ importance ──curves──▶ curves, layers, overlaps ──report──▶ index.html

Each stage reads what the stages before it left in the run folder, and leaves its own; the science lies in the rooms
above.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "RunSettings": "settings",
    "Prepared": "sources",
    "prepare": "sources",
    "config_of": "settings",
    "settings_of": "settings",
    "discover_stage": "stages",
    "rank_stage": "stages",
    "curves_stage": "stages",
    "report_stage": "reporting",
    "plan": "planning",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
