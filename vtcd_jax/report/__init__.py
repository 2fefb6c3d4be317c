"""The report: one HTML file made from a run folder, with a section per job; overlays and clips for Python users.

``write_report`` makes the page of a run, ``write`` the page of results in memory. ``overlays`` colours frames,
``save_clip`` writes a concept's clip to a file. The report computes no results.
"""

from . import overlays
from .citations import bibtex
from .concept_parts import write
from .overlays import overlay
from .page import write_report
from .saving import save_clip
from .section import Part, Section
from .types import ReportData, ShownClips

__all__ = [
    "Part",
    "ReportData",
    "ShownClips",
    "Section",
    "bibtex",
    "overlay",
    "overlays",
    "save_clip",
    "write",
    "write_report",
]
