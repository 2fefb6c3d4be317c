"""The report: one HTML file made from a run folder, with a section per job; figures for Python users.

``write_report`` makes the page of a run, ``write`` the page of results in memory. ``overlays`` colours frames,
``figures`` draws the same charts with matplotlib into a user's axes. The report computes no results.
"""

from . import figures, overlays
from .citations import bibtex
from .concept_parts import write
from .overlays import overlay
from .page import write_report
from .section import Part, Section
from .types import ReportData, ShownClips

__all__ = [
    "Part",
    "ReportData",
    "ShownClips",
    "Section",
    "bibtex",
    "figures",
    "overlay",
    "overlays",
    "write",
    "write_report",
]
