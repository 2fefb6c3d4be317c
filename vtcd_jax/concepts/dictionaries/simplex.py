"""Shares: vectors of non-negative entries that sum to one.

    minimise ‖x - s Z‖² over the simplex     x [feature]   Z [concept feature]   s [concept]

Michelot (1986), J. Optim. Theory Appl. 50(1), for the projection; Beck & Teboulle (2009), SIAM J. Imaging Sci. 2(1),
for the accelerated steps; O'Donoghue & Candès (2015), Found. Comput. Math. 15, for starting their momentum anew.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def onto_simplex(V: Float[Array, "row entry"], real: Bool[Array, "entry"]) -> Float[Array, "row entry"]:
    """The nearest point of the simplex for every row, over the ``real`` entries; the others are zero, and all of them
    where none is real.

    It is max(v - t, 0) with the t that makes the sum one. Newton's steps reach it exactly: each takes the t that would
    be right for the entries above the last one, from below, until no more fall under it. (Sorting gives t at once, but
    takes many times as long on a CPU.)
    """
    # A shift of all entries moves no projection; with the largest at zero, large numbers do not swallow the one.
    values = jnp.where(real, V, -jnp.inf)
    values = values - jnp.where(real.any(), values.max(-1, keepdims=True), 0)

    def newton(now: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        last, count, _ = now
        above = values > last
        number = above.sum(-1, keepdims=True)
        t = (jnp.where(above, values, 0).sum(-1, keepdims=True) - 1) / jnp.maximum(number, 1)
        t = jnp.maximum(t, last)  # rounding must not take it back: fewer and fewer entries, so the loop ends
        return t, number, (number < count).any()

    lowest = jnp.full((len(V), 1), -1.0, V.dtype)
    start = lowest, jnp.full((len(V), 1), V.shape[1] + 1), jnp.bool_(True)
    t, _, _ = jax.lax.while_loop(lambda now: now[2], newton, start)
    return jnp.where(real, jnp.maximum(values - t, 0), 0)


def curvature(gram: Float[Array, "concept concept"]) -> Float[Array, ""]:
    """An upper bound of the largest eigenvalue of a symmetric matrix, never zero: 1 / it is a safe step."""
    bound = jnp.minimum(jnp.sqrt((gram**2).sum()), jnp.abs(gram).sum(1).max())
    return jnp.maximum(bound, 1e-20)


class _State(NamedTuple):
    s: jax.Array
    ahead: jax.Array
    momentum: jax.Array
    moved: jax.Array
    step: jax.Array


@partial(jax.jit, static_argnames="max_steps")
def simplex_codes(
    X: Float[Array, "sample feature"],
    dictionary: Float[Array, "concept feature"],
    used: Int[Array, ""] | int,
    *,
    max_steps: int = 2000,
    tol: float = 1e-6,
) -> Float[Array, "sample concept"]:
    """Shares of every sample on the first ``used`` rows of the dictionary; the others get none.

    tol: stop once a step moves no share by more than this.
    """
    real = jnp.arange(len(dictionary)) < used
    # Shares sum to one, so rows and samples may move together: small differences are better conditioned.
    mean = (dictionary * real[:, None]).sum(0) / jnp.maximum(real.sum(), 1)
    Z = jnp.where(real[:, None], dictionary - mean, 0)
    with jax.default_matmul_precision("highest"):
        gram, target = Z @ Z.T, (X - mean) @ Z.T
        rate = 1 / curvature(gram)

        def body(now: _State) -> _State:
            s = onto_simplex(now.ahead - rate * (now.ahead @ gram - target), real)
            # Per sample: momentum that points uphill is dropped.
            uphill = ((now.ahead - s) * (s - now.s)).sum(1, keepdims=True) > 0
            momentum = jnp.where(uphill, 1.0, (1 + jnp.sqrt(1 + 4 * now.momentum**2)) / 2)
            ahead = jnp.where(uphill, s, s + (now.momentum - 1) / momentum * (s - now.s))
            moved = jnp.abs(s - now.s).max()
            return _State(s, ahead, momentum, moved, now.step + 1)

        first = onto_simplex(target * rate, real)
        start = _State(first, first, jnp.ones((len(X), 1)), jnp.float32(jnp.inf), jnp.int32(0))
        return jax.lax.while_loop(lambda now: (now.moved > tol) & (now.step < max_steps), body, start).s
