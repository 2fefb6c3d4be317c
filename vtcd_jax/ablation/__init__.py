"""Masked passes: what a network predicts when concepts are removed. An interrupted call resumes.

Pruning, segmentation, connectomes and importance all use one function, ``scores``: a design makes gates, a support
gives the tokens of each concept, and one compiled pass runs the network. ``slopes`` is its derivative.
"""

from .design import Design, Explicit, nothing_removed, removal_order
from .gates import Gates, as_design
from .scores import scores
from .slopes import slopes
from .support import MODES, Support

__all__ = [
    "MODES",
    "Design",
    "Explicit",
    "Gates",
    "Support",
    "as_design",
    "nothing_removed",
    "removal_order",
    "scores",
    "slopes",
]
