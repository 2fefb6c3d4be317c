"""The penalty of a probe by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.base.errors import InputError

from . import checks, heldout
from .classification import multinomial
from .regression import solve_ridge


@struct.dataclass
class Selection:
    """The penalty with the smallest held-out loss, and the losses of all.

    best:  float, the chosen l2; ties by the larger.
    l2:    float [value], in the order given.
    loss:  float [value], mean over the samples: squared error (ridge) or -log of the true class's probability
           (multinomial).
    error: float [value], its standard error over the samples.
    """

    best: float
    l2: jax.Array
    loss: jax.Array
    error: jax.Array


def choose_ridge(
    X: Any, y: Any, l2: Sequence[float | int], *, standardise: bool = False, folds: int = 5, seed: int | jax.Array = 0
) -> Selection:
    """The l2 of ``ridge`` for ``y`` [sample] or [sample, target]; each sample is held out once."""
    X = checks.samples("X", X, minimum=2).astype(np.float64)
    values = checks.penalties(l2, strict=False)
    y = np.asarray(y)
    if y.ndim not in (1, 2) or len(y) != len(X):
        raise InputError(f"y: shape {y.shape}, but X has {len(X)} samples; give [sample] or [sample, target]")
    Y = checks.samples("y", y.reshape(len(y), -1)).astype(np.float64)
    fold = heldout.folds(len(X), min(checks.whole("folds", folds, 2), len(X)), seed, 0)
    loss = np.empty((len(values), len(X)))
    for held in (fold == number for number in np.unique(fold)):
        weights, intercept = solve_ridge(X[~held], Y[~held], values, standardise)
        loss[:, held] = ((X[held] @ weights + intercept[:, None] - Y[held]) ** 2).mean(axis=2)
    return _select(values, loss)


def choose_multinomial(
    X: Any,
    labels: Any,
    l2: Sequence[float | int],
    *,
    standardise: bool = False,
    folds: int = 5,
    seed: int | jax.Array = 0,
) -> Selection:
    """The l2 of ``multinomial``; stratified folds.

    Refuses a class with one sample, which would be unknown when it is held out.
    """
    X = checks.samples("X", X, minimum=2)
    y = checks.labels("labels", labels, len(X))
    values = checks.penalties(l2)
    classes, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise InputError(f"labels: class {classes[counts.argmin()]} has one sample; cross-validation needs two")
    fold = heldout.stratified_folds(index, checks.whole("folds", folds, 2), seed)
    loss = np.empty((len(values), len(X)))
    for held in (fold == number for number in np.unique(fold)):
        for row, value in zip(loss, values, strict=True):
            probe = multinomial(X[~held], index[~held], value, standardise=standardise)
            if not probe.converged:
                raise InputError(f"l2={value:g}: a fit did not converge; give a larger l2 or standardise the features")
            logits = X[held] @ np.asarray(probe.weights, np.float64) + np.asarray(probe.intercept, np.float64)
            row[held] = -np.asarray(jax.nn.log_softmax(logits, axis=1))[np.arange(held.sum()), index[held]]
    return _select(values, loss)


def _select(l2: np.ndarray, loss: np.ndarray) -> Selection:
    mean = loss.mean(axis=1)
    best = max(l2[mean == mean.min()])
    error = loss.std(axis=1, ddof=1) / np.sqrt(loss.shape[1])
    return Selection(float(best), jnp.asarray(l2), jnp.asarray(mean), jnp.asarray(error))
