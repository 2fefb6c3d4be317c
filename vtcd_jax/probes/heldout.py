"""Folds of held-out samples, and the error of the accuracy on them."""

from __future__ import annotations

import jax
import numpy as np
from scipy import special, stats

from . import checks

SIDES = {"negatives": 0, "positives": 1}


def folds(count: int, number: int, seed: int | jax.Array, stratum: int) -> np.ndarray:
    """int [sample], the fold 0 … number - 1 of each of ``count`` samples of one class; sizes differ by at most one.

    They depend only on the number of samples, the seed and ``stratum`` (the class), not on the features.
    """
    order = np.random.default_rng([*checks.entropy(seed), stratum, number]).permutation(count)
    fold = np.empty(count, np.int64)
    fold[order] = (np.arange(count) + stratum) % number
    return fold


def stratified_folds(labels: np.ndarray, number: int, seed: int | jax.Array) -> np.ndarray:
    """int [sample], folds with every class spread evenly; ``labels`` 0 … classes - 1 [sample]."""
    fold = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        fold[where] = folds(len(where), number, seed, int(label))
    return fold


def effective(count: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Effective number of independent samples for ``count`` samples, each held out once, in ``number`` folds.

    The classifiers of the folds share training samples: the variance of their mean accuracy is larger by about
    1 + (fraction held out) / (fraction trained on) * number = 1 + number / (number - 1) (Nadeau & Bengio 2003, section
    3).
    """
    return count / (1 + number / (number - 1))


def standard_error(correct: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Binomial standard error of the fractions ``correct / count``."""
    fraction = correct / count
    return np.sqrt(fraction * (1 - fraction) / count)


def wilson(correct: np.ndarray, count: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Wilson's score interval [..., 2] of the fractions ``correct / count`` (Wilson 1927)."""
    z = stats.norm.ppf((1 + confidence) / 2)
    fraction, inverse = correct / count, z**2 / count
    middle = (fraction + inverse / 2) / (1 + inverse)
    half = z / (1 + inverse) * np.sqrt(fraction * (1 - fraction) / count + inverse / (4 * count))
    return np.stack([np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)], axis=-1)


def p_above(correct: np.ndarray, count: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """Probability of at least ``correct`` right guesses of ``count``, each right with probability ``chance``.

    The binomial tail as an incomplete beta function, which also takes fractional counts.
    """
    some = np.maximum(correct, np.finfo(np.float64).tiny)
    return np.where(correct > 0, special.betainc(some, count - correct + 1, chance), 1.0)
