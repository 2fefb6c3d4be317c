"""Damped Newton steps for two-class losses plus an L2 penalty: exact systems, for few samples or few features.

    minimise   sum_i weight_i loss(f_i, sign_i) + l2/2 |w|^2     over w and a free intercept b,  f_i = x_i . w + b

    form        M                     unknown                   a step costs
    "primal"    X [sample feature]    w [feature]               n d^2 + d^3/3
    "dual"      X X^T [sample sample] a [sample], w = X^T a     n^2 + n^3/3

Every optimum has the form X^T a, so both give the same vector. The dual system is solved through l2 I + S X X^T S with
S = sqrt(curvature), whose eigenvalues are at least l2 (Rasmussen & Williams 2006, section 3.4.3).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jaxtyping import Array, Float

from .losses import Smooth, derivatives, values

Form = Literal["primal", "dual"]

HALVINGS = 24  # of a Newton step; the longest step with the best objective is used


class Solution(NamedTuple):
    """A minimiser.

    coefficients:  [feature] w of the primal form, [sample] a of the dual form.
    intercept:     [].
    gradient_norm: [], norm of the gradient in w and b, over ``sum_i weight_i |(x_i, 1)|``.
    steps:         int [].
    converged:     bool [], the norm fell below the tolerance (and for the hinge the duality gap).
    """

    coefficients: Array
    intercept: Array
    gradient_norm: Array
    steps: Array
    converged: Array


def newton(
    form: Form,
    loss: Smooth,
    M: Float[Array, "sample column"],
    sign: Float[Array, "sample"],
    weight: Float[Array, "sample"],
    l2: Float[Array, ""],
    *,
    tol: float,
    max_steps: int,
) -> Solution:
    """The minimum for one set of samples; ``vmap`` solves many. A weight of 0 leaves a sample out."""
    scale = (weight * jnp.sqrt(squared_norms(form, M) + 1)).sum()
    lengths = 2.0 ** -jnp.arange(HALVINGS, dtype=M.dtype)

    def parts(theta: Array, bias: Array) -> tuple[Array, Array, Array]:
        first, second = derivatives(loss, (M @ theta + bias)[:, None], sign[:, None])
        gradient = weight * first[:, 0]
        return gradient, weight * second[:, 0], gradient_norm(form, M, theta, gradient, l2) / scale

    def objectives(theta: Array, bias: Array, change: Array, shift: Array) -> Array:
        f, df = M @ theta + bias, M @ change + shift
        along = jax.vmap(lambda t: (weight * values(loss, (f + t * df)[:, None], sign[:, None])).sum())(lengths)
        square, cross, quadratic = (
            inner(form, M, *pair) for pair in ((theta, theta), (theta, change), (change, change))
        )
        return along + l2 / 2 * (square + 2 * lengths * cross + lengths**2 * quadratic)

    def body(state: tuple) -> tuple:
        theta, bias, gradient, curvature, _, steps = state
        change, shift = step(form, M, theta, gradient, curvature, l2)
        candidates = objectives(theta, bias, change, shift)
        best = candidates.min()
        length = lengths[jnp.argmax(candidates <= best + 100 * jnp.finfo(M.dtype).eps * jnp.abs(best))]
        theta, bias = theta + length * change, bias + length * shift
        return (theta, bias, *parts(theta, bias), steps + 1)

    def unfinished(state: tuple) -> Array:
        return (state[4] > tol) & (state[5] < max_steps)

    theta, bias = jnp.zeros(M.shape[1], M.dtype), jnp.zeros((), M.dtype)
    start = (theta, bias, *parts(theta, bias), jnp.zeros((), jnp.int32))
    theta, bias, _, _, norm, steps = jax.lax.while_loop(unfinished, body, start)
    return Solution(theta, bias, norm, steps, norm <= tol)


def step(form: Form, M: Array, theta: Array, gradient: Array, curvature: Array, l2: Array) -> tuple[Array, Array]:
    """Newton's change of the coefficients and of the intercept, for given derivatives per sample (weights included).

    A sample without curvature must have no gradient.
    """
    if form == "dual":
        root = jnp.sqrt(curvature)
        factor = cho_factor(l2 * jnp.eye(len(M), dtype=M.dtype) + root[:, None] * M * root)
        slope = jnp.where(root > 0, gradient / jnp.where(root > 0, root, 1), 0)
        free = root * cho_solve(factor, root * (M @ theta) - slope)
        along = root * cho_solve(factor, root)
        shift = _ratio(free.sum(), along.sum())  # the coefficients sum to zero: the intercept is free
        return free - shift * along - theta, shift
    weighted = curvature[:, None] * M
    factor = cho_factor(M.T @ weighted + l2 * jnp.eye(M.shape[1], dtype=M.dtype))
    cross = weighted.sum(0)
    free = cho_solve(factor, -(M.T @ gradient + l2 * theta))
    along = cho_solve(factor, cross)
    shift = _ratio(-gradient.sum() - cross @ free, curvature.sum() - cross @ along)
    return free - shift * along, shift


def _ratio(change: Array, curvature: Array) -> Array:
    """``change / curvature``; 0 where no sample has curvature, as when every margin of a squared hinge is kept."""
    return jnp.where(curvature > 0, change / jnp.where(curvature > 0, curvature, 1), 0)


def gradient_norm(form: Form, M: Array, theta: Array, gradient: Array, l2: Array) -> Array:
    """Norm of the objective's gradient in w and b, from the derivatives per sample."""
    if form == "dual":
        rest = gradient + l2 * theta
        return jnp.sqrt(jnp.maximum(rest @ M @ rest, 0) + gradient.sum() ** 2)
    return jnp.sqrt(((M.T @ gradient + l2 * theta) ** 2).sum() + gradient.sum() ** 2)


def inner(form: Form, M: Array, one: Array, other: Array) -> Array:
    """Inner product of two vectors w given by their coefficients."""
    return one @ M @ other if form == "dual" else one @ other


def squared_norms(form: Form, M: Array) -> Array:
    """|x_i|^2 [sample]."""
    return jnp.maximum(jnp.diagonal(M), 0) if form == "dual" else (M**2).sum(1)
