"""Semi-NMF: features of any sign as non-negative sums of dictionary rows of any sign.

    X  [sample feature]   features, any sign       H  [concept sample]   codes, >= 0
    W  [concept feature]  dictionary, any sign     minimise ‖X - HᵀW‖

    W  the least-squares solution for H            H ← H ∘ √(((W Xᵀ)⁺ + (W Wᵀ)⁻H) / ((W Xᵀ)⁻ + (W Wᵀ)⁺H))

The dictionary is free: with as many concepts it fits better than convex NMF, and its rows need not look like samples.
Ding, Li & Jordan (2010), "Convex and Semi-Nonnegative Matrix Factorizations", TPAMI 32(1), §2, eqs. 8-9.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .convex_nmf import EPS, Factorization, initial_factors
from .iterate import descend, relative, unit_scale

RIDGE = 1e-5  # in units of the mean square code


class _State(NamedTuple):
    H: jax.Array
    W: jax.Array


def semi_nmf(
    X: Float[Array, "sample feature"],
    labels: Int[Array, "sample"],
    used: Int[Array, ""],
    tol: Float[Array, ""] | float,
    *,
    concepts: int,
    max_steps: int,
) -> Factorization:
    """From cluster labels (-1 for padding, zero rows of X); concepts from ``used`` on stay zero. Pure."""
    with jax.default_matmul_precision("highest"):
        scale = unit_scale(X)
        unit = X * scale
        _, H = initial_factors(labels, concepts, used)
        start = _State(H, _fit_rows(unit, H, jnp.zeros((concepts, X.shape[1]))))

        def step(s: _State) -> _State:
            H = _fit_codes(unit, s.H, s.W)
            return _State(H, _fit_rows(unit, H, s.W))

        end = descend(step, lambda s: relative(unit - s.H.T @ s.W, unit), start, tol, max_steps=max_steps)
        H, W = end.state
        return Factorization(None, H, W / scale, end.error, end.converged, end.steps)


def _fit_codes(X: Array, H: Array, W: Array) -> Array:
    target, gram = W @ X.T, W @ W.T
    up = jnp.maximum(target, 0) + jnp.maximum(-gram, 0) @ H
    down = jnp.maximum(-target, 0) + jnp.maximum(gram, 0) @ H
    return H * jnp.sqrt(up / (down + EPS))


def _fit_rows(X: Array, H: Array, W: Array) -> Array:
    """Least squares with a small pull towards the W before: never a singular system (codes may be equal, or all zero),
    and, unlike a ridge towards zero, never a larger error than before.
    """
    gram = H @ H.T
    ridge = RIDGE * jnp.trace(gram) / len(H) + 1e-12
    factor = jax.scipy.linalg.cho_factor(gram + ridge * jnp.eye(len(H)))
    return W + jax.scipy.linalg.cho_solve(factor, H @ (X - H.T @ W))
