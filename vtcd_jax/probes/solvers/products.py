"""Float64 products of sample matrices [sample, feature], a slice of the features at a time.

Features may be many (a flattened map has 100,000) and stay in the type they come in: only a slice is ever float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

SLICE_BYTES = 128 * 2**20  # of float64 features held at once


def feature_slices(samples: int, features: int) -> Iterator[slice]:
    """Slices of the features so that ``samples`` float64 rows of one fit into ``SLICE_BYTES``."""
    width = max(1, SLICE_BYTES // (8 * max(samples, 1)))
    return (slice(start, min(start + width, features)) for start in range(0, features, width))


def stacked(sets: Sequence[np.ndarray], size: int, columns: slice = slice(None)) -> np.ndarray:
    """float64 [set, size, feature], the sets' samples padded with zeros to ``size``."""
    out = np.zeros((len(sets), size, sets[0][:1, columns].shape[1]))
    for row, X in zip(out, sets, strict=True):
        row[: len(X)] = X[:, columns]
    return out


def gram(X: np.ndarray) -> np.ndarray:
    """float64 [sample, sample], X X^T."""
    total = np.zeros((len(X), len(X)))
    for columns in feature_slices(len(X), X.shape[1]):
        rows = X[:, columns].astype(np.float64)
        total += rows @ rows.T
    return total


def grams(first: Sequence[np.ndarray], second: Sequence[np.ndarray], sizes: tuple[int, int]) -> tuple[jax.Array, ...]:
    """Inner products within each set of ``first``, within each of ``second``, and of all pairs between them.

    float64 [i, s, s], [j, t, t] and [i, s, j, t] for padded sizes s, t. Needs ``jax.enable_x64``.
    """
    (a, s), (b, t) = (len(first), sizes[0]), (len(second), sizes[1])
    totals = (jnp.zeros((a, s, s)), jnp.zeros((b, t, t)), jnp.zeros((a * s, b * t)))
    for columns in feature_slices(a * s + b * t, first[0].shape[1]):
        totals = _add_grams(totals, jnp.asarray(stacked(first, s, columns)), jnp.asarray(stacked(second, t, columns)))
    return totals[0], totals[1], totals[2].reshape(a, s, b, t)


@jax.jit
def _add_grams(totals: tuple[jax.Array, ...], P: jax.Array, N: jax.Array) -> tuple[jax.Array, ...]:
    between = P.reshape(-1, P.shape[-1]) @ N.reshape(-1, N.shape[-1]).T
    return totals[0] + P @ P.swapaxes(1, 2), totals[1] + N @ N.swapaxes(1, 2), totals[2] + between


def combine(
    sets: tuple[Sequence[np.ndarray], Sequence[np.ndarray]], pairs: np.ndarray, a: np.ndarray, size: int
) -> np.ndarray:
    """float64 [pair, feature], the sum over a pair's samples of its coefficient times the sample.

    ``a`` [pair, row]: the coefficients of the first set, padded to ``size``, then those of the second.
    """
    first, second = sets
    features = first[0].shape[1]
    out = np.empty((len(pairs), features))
    rows = sum(len(X) for X in first) + sum(len(X) for X in second)
    for columns in feature_slices(rows, features):
        P = [X[:, columns].astype(np.float64) for X in first]
        N = [X[:, columns].astype(np.float64) for X in second]
        for row, (i, j), coefficients in zip(out, pairs, a, strict=True):
            row[columns] = coefficients[: len(P[i])] @ P[i] + coefficients[size : size + len(N[j])] @ N[j]
    return out
