"""The exact hinge loss (support vector machine) with a free intercept, by a primal-dual interior-point method.

    minimise   sum_i weight_i xi_i + l2/2 |w|^2    with   t_i f_i - 1 + xi_i = m_i >= 0,  xi_i >= 0

    multipliers   alpha_i of m_i >= 0,  beta_i of xi_i >= 0;   alpha_i + beta_i = weight_i
    optimum       alpha_i m_i = beta_i xi_i = 0,   l2 w = sum_i alpha_i t_i x_i,   sum_i alpha_i t_i = 0

Each step solves these equations, linearised, with both products equal to a shrinking ``mu``. What is left after
elimination is a Newton system of ``newton.step`` with curvature 1 / (m/alpha + xi/beta) (Wright 1997, chapters 1, 4).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .newton import Form, Solution, gradient_norm, squared_norms, step

SHRINK = 0.1  # of mu per step
TO_THE_EDGE = 0.995  # fraction of the distance to the first constraint


def hinge(
    form: Form,
    M: Float[Array, "sample column"],
    sign: Float[Array, "sample"],
    weight: Float[Array, "sample"],
    l2: Float[Array, ""],
    *,
    tol: float,
    max_steps: int,
) -> Solution:
    """The minimum for one set of samples, ``M`` as in ``newton``; the duality gap falls to ``tol * sum(weight)``."""
    used = weight > 0
    limit = jnp.where(used, weight, 1)
    scale = (weight * jnp.sqrt(squared_norms(form, M) + 1)).sum()

    def quality(state: tuple) -> tuple[Array, Array]:
        theta, _, alpha, beta, margin, slack, _ = state
        gap = jnp.where(used, alpha * margin + beta * slack, 0).sum() / weight.sum()
        return gap, gradient_norm(form, M, theta, jnp.where(used, -sign * alpha, 0), l2) / scale

    def body(state: tuple) -> tuple:
        theta, bias, alpha, beta, margin, slack, steps = state
        mu = SHRINK * quality(state)[0] * weight.sum() / (2 * used.sum())
        curvature = 1 / (margin / alpha + slack / beta)
        excess = mu / alpha - margin - mu / beta + slack
        gradient = jnp.where(used, -sign * (alpha + curvature * excess), 0)
        change, shift = step(form, M, theta, gradient, jnp.where(used, curvature, 0), l2)
        if form == "dual":  # at a full step l2 a = t alpha: without the difference of nearly equal numbers below
            dalpha = sign * l2 * (theta + change) - alpha
        else:
            dalpha = curvature * (excess - sign * (M @ change + shift))
        dslack = (mu - beta * slack + slack * dalpha) / beta
        dmargin = (mu - alpha * margin - margin * dalpha) / alpha
        pairs = ((alpha, dalpha), (beta, -dalpha), (margin, dmargin), (slack, dslack))
        length = jnp.minimum(1, TO_THE_EDGE * jnp.stack([_reach(v, d, used) for v, d in pairs]).min())
        moved = (v + length * jnp.where(used, d, 0) for v, d in pairs)
        return (theta + length * change, bias + length * shift, *moved, steps + 1)

    def unfinished(state: tuple) -> Array:
        gap, norm = quality(state)
        return ((gap > tol) | (norm > tol)) & (state[-1] < max_steps)

    ones = jnp.ones_like(weight)
    theta, bias = jnp.zeros(M.shape[1], M.dtype), jnp.zeros((), M.dtype)
    start = (theta, bias, limit / 2, limit / 2, ones, 2 * ones, jnp.zeros((), jnp.int32))
    state = jax.lax.while_loop(unfinished, body, start)
    gap, norm = quality(state)
    return Solution(state[0], state[1], norm, state[-1], (gap <= tol) & (norm <= tol))


def _reach(value: Array, change: Array, used: Array) -> Array:
    """The step length at which the first positive value becomes 0."""
    falls = used & (change < 0)
    return jnp.where(falls, -value / jnp.where(falls, change, -1), jnp.inf).min()
