"""Non-negative codes of features on a fixed dictionary.

    minimise ‖x - Wᵀh‖² over h >= 0      x [feature]   W [concept feature]   h [concept]

Cyclic coordinate descent: each entry in turn takes its best value, cut off at zero. The problem is convex and
has no more unknowns than a head has concepts; the order and the stopping rule are fixed, so equal input gives
equal codes.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@partial(jax.jit, static_argnames="max_sweeps")
def nonnegative_codes(
    X: Float[Array, "sample feature"],
    dictionary: Float[Array, "concept feature"],
    *,
    max_sweeps: int = 2000,
    tol: float = 1e-7,
) -> Float[Array, "sample concept"]:
    """Codes of every sample on the dictionary *with rows scaled to length one*: h is the length of a
    concept's share of x.

    A dictionary's row may be scaled up and its codes down without any change of the fit, so only such codes
    compare. Zero rows of the dictionary (padding) get zero codes.
    tol: stop once a sweep moves no code by more than this share of the longest sample.
    """
    norms = jnp.sqrt((dictionary**2).sum(1))
    unit = dictionary / jnp.maximum(norms, jnp.finfo(X.dtype).tiny)[:, None]
    with jax.default_matmul_precision("highest"):
        gram, target = unit @ unit.T, X @ unit.T
    used = norms > 0
    enough = tol * jnp.sqrt((X**2).sum(1).max())

    def coordinate(j: Array, h: Array) -> Array:
        best = h[:, j] + target[:, j] - (h * gram[j]).sum(1)
        return h.at[:, j].set(jnp.where(used[j], jnp.maximum(best, 0), 0))

    def sweep(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        h, _, count = state
        new = jax.lax.fori_loop(0, len(unit), coordinate, h)
        return new, jnp.abs(new - h).max() > enough, count + 1

    start = jnp.zeros(target.shape, X.dtype), jnp.bool_(True), jnp.int32(0)
    return jax.lax.while_loop(lambda s: s[1] & (s[2] < max_sweeps), sweep, start)[0]
