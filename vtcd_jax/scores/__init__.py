"""Scores of predictions: score functions, targets, accuracy."""

from .accuracy import Accuracy, check_accuracy
from .functions import SCORES, Context, Score, Scores, check_scores, default_scores, score_functions
from .targets import (
    Class,
    Reference,
    Targets,
    class_count,
    class_index,
    find_targets,
    follows_query,
    misclassified,
    predict,
)

__all__ = [
    "SCORES",
    "Accuracy",
    "Class",
    "Context",
    "Reference",
    "Score",
    "Scores",
    "Targets",
    "check_accuracy",
    "check_scores",
    "class_count",
    "class_index",
    "default_scores",
    "find_targets",
    "follows_query",
    "misclassified",
    "predict",
    "score_functions",
]
