"""Ridge regression in closed form, for several penalties at once.

    minimise   sum_i |x_i W + b - y_i|^2 + l2 |W|^2     with a free intercept b    (Hoerl & Kennard 1970)

One eigendecomposition of the smaller Gram matrix of the centred samples serves every penalty:

    X^T X = Q L Q^T   W = Q (L + l2)^-1 Q^T X^T Y           features <= samples
    X X^T = U L U^T   W = X^T U (L + l2)^-1 U^T Y           otherwise
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.base.errors import InputError

from . import checks
from .solvers.products import gram
from .solvers.solving import moments


@struct.dataclass
class Ridge:
    """A linear regression: ``x @ weights + intercept``.

    weights:   float [feature] or [feature, target]; a leading axis [l2] where several penalties were given.
    intercept: float [] or [target], with the same leading axis.
    """

    weights: jax.Array
    intercept: jax.Array
    l2: tuple[float, ...] = struct.field(pytree_node=False)
    standardise: bool = struct.field(pytree_node=False)


def ridge(X: Any, y: Any, l2: float | int | Sequence[float | int], *, standardise: bool = False) -> Ridge:
    """Weights that predict ``y`` [sample] or [sample, target] from ``X`` [sample, feature].

    ``l2`` may be 0: the least-squares solution of smallest norm. ``standardise`` scales each feature to variance 1
    before the penalty; the weights come back in the features' own units. Raises InputError for NaN, shapes that do not
    fit and negative penalties.
    """
    X = checks.samples("X", X)
    values = checks.penalties(l2, strict=False)
    y = np.asarray(y)
    if y.ndim not in (1, 2) or len(y) != len(X):
        raise InputError(f"y: shape {y.shape}, but X has {len(X)} samples; give [sample] or [sample, target]")
    Y = checks.samples("y", y.reshape(len(y), -1)).astype(np.float64)
    weights, intercept = solve_ridge(X.astype(np.float64), Y, values, standardise)
    if y.ndim == 1:
        weights, intercept = weights[..., 0], intercept[..., 0]
    if np.ndim(l2) == 0:
        weights, intercept = weights[0], intercept[0]
    return Ridge(jnp.asarray(weights), jnp.asarray(intercept), tuple(values.tolist()), standardise)


def solve_ridge(X: np.ndarray, Y: np.ndarray, l2: np.ndarray, standardise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights [l2, feature, target] and intercepts [l2, target], in float64."""
    with jax.enable_x64(True):
        mean, scale = (np.asarray(a) for a in moments(jnp.asarray(X), jnp.full(len(X), 1 / len(X)), standardise))
    Z, centre = (X - mean) / scale, Y.mean(axis=0)
    wide = Z.shape[1] > len(Z)
    eigenvalues, basis = np.linalg.eigh(gram(Z) if wide else Z.T @ Z)
    right = basis.T @ (Y - centre) if wide else basis.T @ (Z.T @ (Y - centre))
    bottom = np.finfo(np.float64).eps * max(Z.shape) * max(eigenvalues.max(), 0.0)
    total = np.maximum(eigenvalues, 0) + l2[:, None]
    inverse = np.where((eigenvalues > bottom) | (l2[:, None] > 0), 1 / np.where(total > 0, total, 1), 0.0)
    solved = basis @ (inverse[:, :, None] * right)
    weights = (Z.T @ solved if wide else solved) / scale[:, None]
    return weights, centre - mean @ weights
