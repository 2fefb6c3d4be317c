"""Random and balanced designs: which concepts are removed in which masked pass."""

from .hadamard import Hadamard
from .levels import Levels
from .random import Bernoulli, LeaveOneOut, Paired, Random
from .slopes import Joined, Slopes

__all__ = ["Bernoulli", "Hadamard", "Joined", "LeaveOneOut", "Levels", "Paired", "Random", "Slopes"]
