"""Dictionaries of concepts by several methods behind one interface.

    fit(X, k, key, method=…) -> Factorization: X ≈ codesᵀ dictionary        encode(X, fitted, method=…) -> new codes

    method        dictionary                       codes                        weights (dictionary = weightsᵀ X)
    convex-nmf    convex sums of samples, nearly   >= 0                         >= 0
    semi-nmf      free                             >= 0                         none
    nmf           >= 0, for features >= 0          >= 0                         none
    k-means       centres                          one 1, otherwise 0           1 / size of the cluster
    archetypes    mixtures of extreme samples      shares: >= 0, sum to one     shares: >= 0, sum to one
    top-k         directions of length one         a few >= 0, by an encoder    none

All start from the labels of k-means, report the relative error before the first step and after each, and stop by the
same rule. Padding changes nothing: samples that are masked, and concepts from ``used`` on, are zero in every result. So
heads with different numbers of tubelets and concepts, and several seeds, are fitted by one compiled program.
"""

from __future__ import annotations

from .encoding import encode, encode_padded, memberships, reconstruct
from .fitting import best_of, fit, fit_heads, fit_labelled, fit_padded, fit_seeds

__all__ = [
    "best_of",
    "encode",
    "encode_padded",
    "fit",
    "fit_heads",
    "fit_labelled",
    "fit_padded",
    "fit_seeds",
    "memberships",
    "reconstruct",
]
