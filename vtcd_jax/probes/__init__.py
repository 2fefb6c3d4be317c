"""Linear read-outs of features: concept activation vectors, linear probes, retrieval. Plain arrays, no model."""

from .cav import METHODS, Cav, cav, cavs
from .multinomial import Multinomial, multinomial
from .retrieval import Neighbours, Recall, knn, recall, retrieve
from .ridge import Ridge, ridge
from .selection import Selection, choose_multinomial, choose_ridge

__all__ = [
    "METHODS",
    "Cav",
    "Multinomial",
    "Neighbours",
    "Recall",
    "Ridge",
    "Selection",
    "cav",
    "cavs",
    "choose_multinomial",
    "choose_ridge",
    "knn",
    "multinomial",
    "recall",
    "retrieve",
    "ridge",
]
