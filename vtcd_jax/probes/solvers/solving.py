"""Two-class fits of many pairs of sets and all their folds in one compiled call.

A pair is padded to n = s + t rows, positives first; ``real`` marks the samples and ``weights`` [fit, n] say which of
them each fit trains on (the first fit: all; then one for each fold).

    way      when                                                        what is shared
    grams    more features than samples, features as they are            inner products between all sets, by all folds
    rows     otherwise                                                   nothing: each fit centres and scales its rows
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .conjugate import conjugate_newton
from .hinge import hinge
from .newton import Form, Solution, newton

Method = Literal["logistic", "squared-hinge", "hinge", "closed-form", "mean-difference"]

DIRECT = 2048  # unknowns up to which a Newton system is factorised; above, conjugate gradients (not for the hinge)
CONSTANT = 1e-10  # a feature whose spread is below this share of its size is constant, and is not scaled


class Settings(NamedTuple):
    """What a fit minimises and when it stops."""

    method: Method
    standardise: bool
    tol: float
    max_steps: int


class Fits(NamedTuple):
    """coefficients: [pair, n] of the samples or [pair, feature]; the rest [pair, fit …], or [pair] the intercept."""

    coefficients: Any
    intercept: Any
    scores: Any
    gradient_norm: Any
    steps: Any
    converged: Any


def each(function: Callable, *arrays: Array):
    """``function`` of every row: ``vmap`` on accelerators; on CPUs a loop, which is twice as fast there.

    Batches of LAPACK calls have been seen to wait for each other for ever on XLA's pool of CPU threads (jaxlib 0.10).
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(lambda row: function(*row), arrays)
    return jax.vmap(function)(*arrays)


def separate(form: Form, M: Array, sign: Array, weight: Array, l2: Array, settings: Settings) -> Solution:
    """One fit on centred features."""
    if settings.method == "mean-difference":
        return _mean_difference(form, M, sign, weight)
    limits = {"tol": settings.tol, "max_steps": settings.max_steps}
    if settings.method == "hinge":
        return hinge(form, M, sign, weight, l2, **limits)
    if form == "primal" and min(M.shape) > DIRECT:
        fit = conjugate_newton(settings.method, M, sign[:, None], weight, l2, **limits)
        return fit._replace(coefficients=fit.coefficients[:, 0], intercept=fit.intercept[0])
    return newton(form, settings.method, M, sign, weight, l2, **limits)


def _mean_difference(form: Form, M: Array, sign: Array, weight: Array) -> Solution:
    """The means' difference, with the threshold halfway between them."""
    shares = [jnp.where(sign == s, weight, 0) / jnp.where(sign == s, weight, 0).sum() for s in (1, -1)]
    a = shares[0] - shares[1]
    coefficients = a if form == "dual" else M.T @ a
    middle = (shares[0] + shares[1]) @ (M @ coefficients) / 2
    return Solution(coefficients, -middle, jnp.zeros_like(middle), jnp.zeros((), jnp.int32), jnp.ones((), bool))


@partial(jax.jit, static_argnames="settings")
def fit_grams(
    within: tuple[Float[Array, "pair s s"], Float[Array, "pair t t"]],
    between: Float[Array, "pair s t"],
    real: Bool[Array, "pair n"],
    sign: Float[Array, "n"],
    weights: Float[Array, "pair fit n"],
    l2: Float[Array, ""],
    settings: Settings,
) -> Fits:
    """Fits from inner products; ``coefficients`` [pair, n] belong to the samples."""
    upper = jnp.concatenate([within[0], between], axis=2)
    lower = jnp.concatenate([between.swapaxes(1, 2), within[1]], axis=2)

    def one(K: Array, real: Array, weights: Array) -> Fits:
        mean = K @ real / real.sum()
        centred = (K - mean[:, None] - mean + real @ mean / real.sum()) * real[:, None] * real
        fit = each(lambda w: separate("dual", centred, sign, w, l2, settings), weights)
        scores = fit.coefficients @ centred + fit.intercept[:, None]
        first = fit.coefficients[0]
        return Fits(first, fit.intercept[0] - mean @ first, scores, *fit[2:])

    return each(one, jnp.concatenate([upper, lower], axis=1), real, weights)


@partial(jax.jit, static_argnames="settings")
def fit_rows(
    X: Float[Array, "pair n feature"],
    real: Bool[Array, "pair n"],
    sign: Float[Array, "n"],
    weights: Float[Array, "pair fit n"],
    l2: Float[Array, ""],
    settings: Settings,
) -> Fits:
    """Fits from the samples themselves; ``coefficients`` [pair, feature] are the vector."""
    samples, features = X.shape[1:]
    large = min(samples, features) > DIRECT and settings.method not in ("hinge", "mean-difference")
    form: Form = "dual" if features > samples and not large else "primal"

    def one_fit(X: Array, real: Array, weight: Array) -> tuple[Array, ...]:
        fraction = weight / weight.sum()
        mean, scale = moments(X, fraction, settings.standardise)
        Z = (X - mean) / scale * real[:, None]
        fit = separate(form, Z @ Z.T if form == "dual" else Z, sign, weight, l2, settings)
        vector = Z.T @ fit.coefficients if form == "dual" else fit.coefficients
        raw = vector / scale
        return raw, fit.intercept - mean @ raw, Z @ vector + fit.intercept, *fit[2:]

    def one(X: Array, real: Array, weights: Array) -> Fits:
        vectors, intercepts, *rest = each(lambda weight: one_fit(X, real, weight), weights)
        return Fits(vectors[0], intercepts[0], *rest)

    return each(one, X, real, weights)


def moments(X: Array, share: Array, standardise: bool) -> tuple[Array, Array]:
    """Mean and scale of each feature, for shares of the samples that sum to 1; scale 1 unless ``standardise``."""
    mean = share @ X
    if not standardise:
        return mean, jnp.ones_like(mean)
    spread = jnp.sqrt(share @ (X - mean) ** 2)
    return mean, jnp.where(spread > CONSTANT * jnp.sqrt(share @ X**2), spread, 1)
