"""Estimators of importance and their errors, the permutation null, convergence and early stopping."""

from .clips import estimate_clips
from .convergence import Convergence, convergence
from .estimators import ESTIMATORS, estimate
from .interactions import Interactions, pair_interactions
from .permutation import Null, permutation_null
from .result import Importance, combine
from .stopping import InterimAnalysis, interim_analysis, interim_rows

__all__ = [
    "ESTIMATORS",
    "Convergence",
    "Importance",
    "Interactions",
    "InterimAnalysis",
    "Null",
    "combine",
    "convergence",
    "estimate",
    "estimate_clips",
    "interim_analysis",
    "interim_rows",
    "pair_interactions",
    "permutation_null",
]
