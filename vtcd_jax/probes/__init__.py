"""Linear read-outs of features: concept activation vectors, linear probes, retrieval. Plain arrays, no model."""

from .classification import Multinomial, multinomial
from .concept_vectors import METHODS, Cav, cav, cavs
from .regression import Ridge, ridge
from .retrieval import Neighbours, Recall, knn, recall, retrieve
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
