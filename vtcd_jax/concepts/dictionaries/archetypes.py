"""Archetypal analysis: samples as mixtures of extreme samples.

    X  [sample feature]   features, any sign       C  [concept sample]   rows on the simplex; Cᵀ = G
    S  [sample concept]   shares, on the simplex   Z = C X, the archetypes [concept feature]
    minimise ‖X - S C X‖

Both sides are moved by projected gradients whose steps are the inverse of a bound of the curvature, so that the error
never rises:
    S  curvature of Z Zᵀ, the same for all samples
    C  row k: λ(X Xᵀ) Σᵢ Sᵢₖ, because S is non-negative with rows that sum to one: SᵀS ≼ diag(SᵀS 1) = diag(Sᵀ1)
The analysis does not change when all samples move together, so it runs on centred features, where λ is small.

Cutler & Breiman (1994), "Archetypal Analysis", Technometrics 36(4); Mørup & Hansen (2012), "Archetypal analysis for
machine learning and data mining", Neurocomputing 80, for the projected gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .convex_nmf import Factorization
from .iterate import descend, relative, unit_scale
from .simplex import curvature, onto_simplex

INNER = 5  # projected gradients on one side before the other side's turn


class _State(NamedTuple):
    S: jax.Array
    C: jax.Array


def archetypes(
    X: Float[Array, "sample feature"],
    labels: Int[Array, "sample"],
    used: Int[Array, ""],
    tol: Float[Array, ""] | float,
    *,
    concepts: int,
    max_steps: int,
) -> Factorization:
    """From cluster labels (-1 for padding, zero rows of X); concepts from ``used`` on stay zero. Pure."""
    mask, real = labels >= 0, jnp.arange(concepts) < used
    with jax.default_matmul_precision("highest"):
        unit = X * unit_scale(X)
        mean = unit.sum(0) / jnp.maximum(mask.sum(), 1)
        centred = jnp.where(mask[:, None], unit - mean, 0)
        largest = _largest_eigenvalue(centred)

        def step(s: _State) -> _State:
            Z = s.C @ centred
            gram, target = Z @ Z.T, centred @ Z.T
            rate = 1 / curvature(gram)

            def shares(_: Array, S: Array) -> Array:
                return jnp.where(mask[:, None], onto_simplex(S - rate * (S @ gram - target), real), 0)

            S = jax.lax.fori_loop(0, INNER, shares, s.S)
            overlap, pull = S.T @ S, S.T @ centred
            rates = 1 / (largest * jnp.maximum(S.sum(0), 1e-6))[:, None]

            def rows(_: Array, C: Array) -> Array:
                slope = (overlap @ (C @ centred) - pull) @ centred.T
                return jnp.where(real[:, None], onto_simplex(C - rates * slope, mask), 0)

            return _State(S, jax.lax.fori_loop(0, INNER, rows, s.C))

        start = _start(centred, labels, real)
        end = descend(step, lambda s: relative(centred - s.S @ (s.C @ centred), unit), start, tol, max_steps=max_steps)
        S, C = end.state
        return Factorization(C.T, S.T, C @ X, end.error, end.converged, end.steps)


def _largest_eigenvalue(X: Array) -> Array:
    """Of X Xᵀ, rounded up, never zero."""
    gram = X @ X.T if X.shape[0] <= X.shape[1] else X.T @ X
    return jnp.maximum(1.001 * jnp.linalg.eigvalsh(gram)[-1], 1e-9)


def _start(X: Array, labels: Array, real: Array) -> _State:
    """Archetypes at the outermost sample of each cluster (the mean of all where it is empty); shares mostly on the
    own cluster's.
    """
    mask = labels >= 0
    member = jax.nn.one_hot(labels, len(real), dtype=X.dtype)
    distance = jnp.where(member.T > 0, (X**2).sum(1), -1)
    corner = jax.nn.one_hot(jnp.argmax(distance, axis=1), len(X), dtype=X.dtype)
    everywhere = mask / jnp.maximum(mask.sum(), 1)
    C = jnp.where((member.sum(0) > 0)[:, None], corner, everywhere)
    even = real / jnp.maximum(real.sum(), 1)
    return _State(jnp.where(mask[:, None], 0.8 * member + 0.2 * even, 0), jnp.where(real[:, None], C, 0))
