"""Newton steps by conjugate gradients, for many features or many classes: no matrix except the samples is stored.

    minimise   sum_i weight_i loss(F_i, T_i) + l2/2 |W|^2     over W [feature output] and a free intercept b [output]
    F = X W + b

A product with the second derivatives costs 4 n d c operations. Each system is solved only as closely as the
gradient asks for (Dembo, Eisenstat & Steihaug 1982), with the diagonal as preconditioner.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .losses import SMALLEST_CURVATURE, Smooth, derivatives, second_product, values
from .newton import Solution

DECREASE = 1e-4  # fraction of the predicted decrease that a step must reach
HALVINGS = 40


class _Point(NamedTuple):
    W: Array
    b: Array


def conjugate_newton(
    loss: Smooth,
    X: Float[Array, "sample feature"],
    T: Float[Array, "sample output"],
    weight: Float[Array, "sample"],
    l2: Float[Array, ""],
    *,
    tol: float,
    max_steps: int,
    max_products: int = 500,
) -> Solution:
    """The minimum; ``coefficients`` [feature output], ``intercept`` [output]. At most ``max_products`` a step."""
    scale = (weight * jnp.sqrt((X**2).sum(1) + 1)).sum()

    def objective(p: _Point) -> Array:
        return (weight * values(loss, X @ p.W + p.b, T)).sum() + l2 / 2 * (p.W**2).sum()

    def gradient(p: _Point) -> _Point:
        g = weight[:, None] * derivatives(loss, X @ p.W + p.b, T).gradient
        return _Point(X.T @ g + l2 * p.W, g.sum(0))

    def body(state: tuple) -> tuple:
        p, g, norm, steps = state
        F = X @ p.W + p.b

        def product(v: _Point) -> _Point:
            moved = weight[:, None] * second_product(loss, F, T, X @ v.W + v.b)
            return _Point(X.T @ moved + l2 * v.W, moved.sum(0))

        curvature = weight[:, None] * derivatives(loss, F, T).curvature
        diagonal = _Point((X**2).T @ curvature + l2, jnp.maximum(curvature.sum(0), SMALLEST_CURVATURE))
        direction = _solve(product, diagonal, g, jnp.minimum(0.1, jnp.sqrt(norm)), max_products)
        p = _search(objective, p, direction, _dot(g, direction))
        g = gradient(p)
        return p, g, _norm(g) / scale, steps + 1

    def unfinished(state: tuple) -> Array:
        return (state[2] > tol) & (state[3] < max_steps)

    outputs = T.shape[1]
    p = _Point(jnp.zeros((X.shape[1], outputs), X.dtype), jnp.zeros(outputs, X.dtype))
    g = gradient(p)
    start = (p, g, _norm(g) / scale, jnp.zeros((), jnp.int32))
    p, _, norm, steps = jax.lax.while_loop(unfinished, body, start)
    return Solution(p.W, p.b, norm, steps, norm <= tol)


def _solve(product, diagonal: _Point, gradient: _Point, accuracy: Array, max_products: int) -> _Point:
    """Approximately minus the inverse second derivatives times the gradient; every iterate is a descent direction."""
    enough = accuracy * _norm(gradient)

    def body(state: tuple) -> tuple:
        x, r, d, rz, count = state
        hd = product(d)
        length = rz / jnp.maximum(_dot(d, hd), jnp.finfo(rz.dtype).tiny)
        x, r = _add(x, d, length), _add(r, hd, -length)
        z = jax.tree.map(jnp.divide, r, diagonal)
        new = _dot(r, z)
        return x, r, _add(z, d, new / rz), new, count + 1

    def unfinished(state: tuple) -> Array:
        return (_norm(state[1]) > enough) & (state[4] < max_products)

    r = jax.tree.map(jnp.negative, gradient)
    z = jax.tree.map(jnp.divide, r, diagonal)
    start = (jax.tree.map(jnp.zeros_like, r), r, z, _dot(r, z), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(unfinished, body, start)[0]


def _search(objective, p: _Point, direction: _Point, slope: Array) -> _Point:
    """The first of the lengths 1, 1/2, 1/4 … that lowers the objective enough."""
    before = objective(p)
    rounding = 100 * jnp.finfo(before.dtype).eps * jnp.abs(before)

    def too_long(state: tuple) -> Array:
        length, count = state
        after = objective(_add(p, direction, length))
        return ~(after <= before + DECREASE * length * slope + rounding) & (count < HALVINGS)

    start = (jnp.ones_like(before), jnp.zeros((), jnp.int32))
    length, _ = jax.lax.while_loop(too_long, lambda s: (s[0] / 2, s[1] + 1), start)
    return _add(p, direction, length)


def _dot(one: _Point, other: _Point) -> Array:
    return (one.W * other.W).sum() + (one.b * other.b).sum()


def _norm(p: _Point) -> Array:
    return jnp.sqrt(_dot(p, p))


def _add(p: _Point, q: _Point, factor: Array) -> _Point:
    return _Point(p.W + factor * q.W, p.b + factor * q.b)
