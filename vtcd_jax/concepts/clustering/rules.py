"""Rules for the number of concepts of a head, as plain functions of curves over k = 1, 2, …

    objective(k)    mean squared distance of a sample to its centre, of k-means with k clusters
    silhouette(k)   mean silhouette of that clustering
    strength(k)     prediction strength: how much of its least stable cluster another half's centres keep together
    explained(k)    share of the variance of one half that centres fitted on the other explain

Kowal et al. (2024), §4.1, and its released code; Tibshirani & Walther (2005), "Cluster Validation by Prediction
Strength", §2.
"""

from __future__ import annotations

import numpy as np


def released_number(objective: np.ndarray, threshold: float = 0.95, take: str = "after") -> int | None:
    """The first k >= 2 with objective(k) > threshold · objective(k - 1), or None while there is none.

    take: "after" returns that k as the released code does, "before" k - 1.
    """
    for k in range(2, len(objective) + 1):
        if objective[k - 1] > threshold * objective[k - 2]:
            return k if take == "after" else k - 1
    return None


def paper_number(silhouettes: np.ndarray, threshold: float = 0.9) -> int:
    """The smallest k >= 2 whose silhouette reaches ``threshold`` times the best one; the first value is not used.

    The paper names the measure and the threshold but no formula: this is our reading. Where no silhouette is above 0,
    the k of the largest one; 1 when only k = 1 was tried.
    """
    values = np.nan_to_num(np.asarray(silhouettes, float)[1:], nan=-1.0)
    if not len(values):
        return 1
    best = values.max()
    return int(np.flatnonzero(values >= (threshold * best if best > 0 else best))[0]) + 2


def knee_number(objective: np.ndarray) -> int:
    """The k >= 2 with the largest ratio of the fall of the objective up to k to its fall up to k + 1.

    The last k has none. With fewer than three values, and for an objective that does not fall, 1.
    """
    falls = np.maximum(-np.diff(np.asarray(objective, float)), 0)
    if len(falls) < 2 or not falls.any():
        return 1
    smallest = 1e-6 * falls.max()  # where nothing falls any more, ratios mean nothing
    return int((np.maximum(falls[:-1], smallest) / np.maximum(falls[1:], smallest)).argmax()) + 2


def strength_number(strength: np.ndarray, threshold: float = 0.8) -> int:
    """The largest k whose prediction strength reaches the threshold; 1 always does. nan does not."""
    return int(np.flatnonzero(np.nan_to_num(strength, nan=-1.0) >= threshold).max(initial=0)) + 1


def held_out_number(explained: np.ndarray, threshold: float = 0.95) -> int:
    """The smallest k whose held-out variance reaches ``threshold`` times the best one; 1 where none is explained."""
    values = np.nan_to_num(np.asarray(explained, float), nan=-np.inf)
    best = values.max()
    return int(np.flatnonzero(values >= threshold * best)[0]) + 1 if best > 0 else 1
