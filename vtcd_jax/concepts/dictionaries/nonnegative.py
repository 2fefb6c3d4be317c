"""NMF: non-negative features as non-negative sums of non-negative dictionary rows.

    X  [sample feature]   features, >= 0           H  [concept sample]   codes, >= 0
    W  [concept feature]  dictionary, >= 0         minimise ‖X - HᵀW‖

    H ← H ∘ (W Xᵀ) / (W Wᵀ H)                      W ← W ∘ (H X) / (H Hᵀ W)

For features after a rectifier (CNN stages, MLP neurons); keys and streams have both signs and need another method.
Lee & Seung (2001), "Algorithms for Non-negative Matrix Factorization", NIPS 13, theorem 1.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .convex_nmf import EPS, Factorization, initial_factors
from .iterate import descend, relative, unit_scale


class _State(NamedTuple):
    H: jax.Array
    W: jax.Array


def nonnegative_nmf(
    X: Float[Array, "sample feature"],
    labels: Int[Array, "sample"],
    used: Int[Array, ""],
    tol: Float[Array, ""] | float,
    *,
    concepts: int,
    max_steps: int,
) -> Factorization:
    """From cluster labels (-1 for padding, zero rows of X); concepts from ``used`` on stay zero. Pure; the caller
    has checked that X >= 0.
    """
    with jax.default_matmul_precision("highest"):
        scale = unit_scale(X)
        unit = X * scale
        _, H = initial_factors(labels, concepts, used)

        def step(s: _State) -> _State:
            H = s.H * (s.W @ unit.T) / ((s.W @ s.W.T) @ s.H + EPS)
            return _State(H, s.W * (H @ unit) / ((H @ H.T) @ s.W + EPS))

        start = _State(H, _first_rows(unit, labels, used, concepts))
        end = descend(step, lambda s: relative(unit - s.H.T @ s.W, unit), start, tol, max_steps=max_steps)
        H, W = end.state
        return Factorization(None, H, W / scale, end.error, end.converged, end.steps)


def _first_rows(X: Array, labels: Array, used: Array, concepts: int) -> Array:
    """Means of the clusters with a fifth of the overall mean, since an entry that starts at zero stays there."""
    member = jax.nn.one_hot(labels, concepts, dtype=X.dtype)
    means = member.T @ X / jnp.maximum(member.sum(0), 1)[:, None]
    overall = X.sum(0) / jnp.maximum((labels >= 0).sum(), 1)
    return jnp.where((jnp.arange(concepts) < used)[:, None], means + 0.2 * overall, 0)
