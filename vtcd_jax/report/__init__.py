"""The report: ranked concepts, their clips under a coloured overlay, and the curves, in one HTML file.

``write`` makes the file from a ``ReportData``; every number comes in, none is computed here but for drawing.
``overlays`` colours frames, ``figures`` draws the same charts with matplotlib into a user's axes. Names are looked up
on first use, so importing this package loads neither jinja2, PyAV nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtcd_jax.report import figures, overlays
    from vtcd_jax.report.citations import bibtex
    from vtcd_jax.report.overlays import overlay
    from vtcd_jax.report.page import write
    from vtcd_jax.report.types import ControlCurve, OverlapRow, ReportData, describe

_HOMES = {
    "ControlCurve": "types",
    "OverlapRow": "types",
    "ReportData": "types",
    "bibtex": "citations",
    "describe": "types",
    "overlay": "overlays",
    "write": "page",
}
_MODULES = ("figures", "overlays")

__all__ = [
    "ControlCurve",
    "OverlapRow",
    "ReportData",
    "bibtex",
    "describe",
    "figures",
    "overlay",
    "overlays",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
