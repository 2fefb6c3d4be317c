"""Multinomial logistic regression: the linear probe of frozen features, solved to its optimum.

    minimise   - sum_i log softmax(x_i W + b)[label_i] + l2/2 |W|^2     with a free intercept b

Newton steps by conjugate gradients (``conjugate``), in float64. With more features than samples the samples are first
turned to as many coordinates with the same inner products; at the optimum W = -X^T (softmax - target) / l2.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.base.errors import InputError

from . import checks
from .solvers.conjugate import conjugate_newton
from .solvers.losses import derivatives, values
from .solvers.newton import Solution
from .solvers.products import gram
from .solvers.solving import moments

JITTER = 1e-14  # added to the Gram matrix, as a fraction of its trace, so that its Cholesky factor exists


@struct.dataclass
class Multinomial:
    """A linear classifier: the class of the largest ``x @ weights + intercept``.

    weights:       float [feature, class].
    intercept:     float [class]; sums to 0.
    classes:       int [class], the labels that occur, in order.
    objective:     float [], the value that was minimised.
    gradient_norm: float [], of the objective, over ``sum_i |(x_i, 1)|``.
    steps:         int [], Newton steps.
    converged:     bool [], the norm fell below the tolerance.
    """

    weights: jax.Array
    intercept: jax.Array
    classes: jax.Array
    objective: jax.Array
    gradient_norm: jax.Array
    steps: jax.Array
    converged: jax.Array
    l2: float = struct.field(pytree_node=False)
    standardise: bool = struct.field(pytree_node=False)


def multinomial(
    X: Any,
    labels: Any,
    l2: float | int = 1.0,
    *,
    standardise: bool = False,
    tol: float = 1e-9,
    max_steps: int = 200,
) -> Multinomial:
    """The classifier of ``labels`` (whole numbers [sample]) from ``X`` [sample, feature].

    ``LogisticRegression(C=1/l2)`` of scikit-learn. ``standardise`` scales each feature to variance 1
    before the penalty; the weights come back in the features' own units. Raises InputError for fewer than two classes,
    NaN, and l2 that is not positive (separable samples would have no optimum).
    """
    X = checks.samples("X", X)
    y = checks.labels("labels", labels, len(X))
    classes, target = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"labels: all are {classes[0]}; a classifier needs samples of two classes")
    penalty = checks.penalty(l2)
    with jax.enable_x64(True):
        weight = jnp.full(len(X), 1 / len(X))
        mean, scale = (np.asarray(a) for a in moments(jnp.asarray(X, jnp.float64), weight, standardise))
        Z = (X - mean) / scale
        wide = Z.shape[1] > len(Z)
        rows = np.linalg.cholesky(_definite(gram(Z))) if wide else Z
        fit, a, objective = _solve(rows, np.eye(len(classes))[target], jnp.asarray(penalty), tol, max_steps)
        weights = (Z.T @ np.asarray(a) if wide else np.asarray(fit.coefficients)) / scale[:, None]
        intercept = np.asarray(fit.intercept) - mean @ weights
    numbers = (objective, fit.gradient_norm, fit.steps, fit.converged)
    arrays = (weights, intercept - intercept.mean(), classes, *(np.asarray(n) for n in numbers))
    return Multinomial(*(jnp.asarray(array) for array in arrays), l2=penalty, standardise=standardise)


def _definite(K: np.ndarray) -> np.ndarray:
    return K + JITTER * len(K) * max(np.trace(K), np.finfo(np.float64).tiny) * np.eye(len(K))


@partial(jax.jit, static_argnames=("tol", "max_steps"))
def _solve(
    X: jax.Array, T: jax.Array, l2: jax.Array, tol: float, max_steps: int
) -> tuple[Solution, jax.Array, jax.Array]:
    """The solution, the samples' coefficients [sample, class] and the objective."""
    weight = jnp.ones(len(X))
    fit = conjugate_newton("multinomial", X, T, weight, l2, tol=tol, max_steps=max_steps)
    F = X @ fit.coefficients + fit.intercept
    objective = values("multinomial", F, T).sum() + l2 / 2 * (fit.coefficients**2).sum()
    return fit, -derivatives("multinomial", F, T).gradient / l2, objective
