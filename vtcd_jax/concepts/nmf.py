"""Convex NMF: concepts as non-negative combinations of the observed tubelet features.

    X  [sample feature]   features, any sign       G  [sample concept]  convex weights, >= 0
    H  [concept sample]   codes, >= 0              W = Gᵀ X, the dictionary [concept feature]
    minimise ‖Xᵀ - Xᵀ G H‖ by multiplicative steps; A = X Xᵀ, A⁺ and A⁻ its positive and negative parts:
        Hᵀ ← Hᵀ ∘ √((A⁺G + Hᵀ GᵀA⁻G) / (A⁻G + Hᵀ GᵀA⁺G))
        G  ← G  ∘ √((A⁺Hᵀ + A⁻G HHᵀ) / (A⁻Hᵀ + A⁺G HHᵀ))    with the new H

Zeros stay zero, so padded samples (zero rows of X and G, zero columns of H) and padded concepts change
nothing: heads with different numbers of tubelets and concepts run in one call.
Ding, Li & Jordan (2010), "Convex and Semi-Nonnegative Matrix Factorizations", TPAMI 32(1), eqs. 20-21 and §3.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from vtcd_jax.models.errors import InputError

from .kmeans import kmeans

WINDOW = 20  # steps over which the stopping rule looks: single steps move less than float32 rounding
EPS = 1e-9
BATCH_BYTES = 2**30  # what the M x M matrices of the heads in flight may take


@struct.dataclass
class Factorization:
    """A fitted factorization; under ``fit_heads`` every field has a leading ``head`` axis.

    weights:    float32 [sample, concept], G, non-negative.
    codes:      float32 [concept, sample], H, non-negative.
    dictionary: float32 [concept, feature], W, in the units of the features.
    error:      float32 [step + 1], ‖Xᵀ - WᵀH‖ / ‖X‖ before the first step and after each, held once
                converged.
    converged:  bool [], whether ``tol`` was met before ``max_steps``.
    steps:      int32 [], steps taken.
    """

    weights: jax.Array
    codes: jax.Array
    dictionary: jax.Array
    error: jax.Array
    converged: jax.Array
    steps: jax.Array


class _State(NamedTuple):
    G: jax.Array
    Ht: jax.Array
    error: jax.Array
    step: jax.Array
    converged: jax.Array


def convex_nmf(
    X: Float[Array | np.ndarray, "sample feature"],
    k: int,
    *,
    init: tuple[Float[Array | np.ndarray, "sample concept"], Float[Array | np.ndarray, "concept sample"]] | None = None,
    key: Array | None = None,
    max_steps: int = 2000,
    tol: float = 1e-4,
) -> Factorization:
    """Factorises features of any sign into ``k`` concepts.

    init: (G, H), non-negative; None starts from k-means (best of 10, drawn with ``key``, default seed 0).
    tol:  stop when the error fell by less than this share of itself over the last 20 steps; 0 runs all
          ``max_steps``.
    Raises InputError for k outside 1 … samples, NaN or infinite features, or a start that does not fit.
    """
    values = np.asarray(X, np.float32)
    samples = len(values)
    if not 1 <= k <= samples:
        raise InputError(f"{k} concepts of {samples} tubelets; k must lie in 1 … {samples}")
    if not np.isfinite(values).all():
        raise InputError("features hold NaN or infinite values; check the weights and the clips")
    if init is None:
        key = jax.random.key(0) if key is None else key
        G, H = initial_factors(kmeans(jnp.asarray(values), k, key, maximum=k).labels, k)
    else:
        G, H = (jnp.asarray(part, jnp.float32) for part in init)
        if G.shape != (samples, k) or H.shape != (k, samples) or min(G.min(), H.min()) < 0:
            raise InputError(f"init must be (G [{samples}, {k}], H [{k}, {samples}]), non-negative")
    return factorise(jnp.asarray(values), G, H, tol, max_steps=max_steps)


@partial(jax.jit, static_argnames="concepts")
def initial_factors(
    labels: Int[Array, "sample"], concepts: int, used: Int[Array, ""] | int | None = None
) -> tuple[Float[Array, "sample concept"], Float[Array, "concept sample"]]:
    """(G, H) from cluster labels: G = (1[cluster] + 0.01) / size of the sample's cluster, H = 1[cluster] +
    0.2.

    labels: -1 for padding, whose entries are zero.   used: concepts from here on are padding as well.
    """
    member = jax.nn.one_hot(labels, concepts, dtype=jnp.float32)
    own_size = (member @ member.sum(0))[:, None]
    real = (labels >= 0)[:, None] & (jnp.arange(concepts) < (concepts if used is None else used))
    G = jnp.where(real, (member + 0.01) / jnp.maximum(own_size, 1), 0)
    return G, jnp.where(real, member + 0.2, 0).T


@partial(jax.jit, static_argnames="max_steps")
def factorise(
    X: Float[Array, "sample feature"],
    G: Float[Array, "sample concept"],
    H: Float[Array, "concept sample"],
    tol: Float[Array, ""] | float = 1e-4,
    *,
    max_steps: int = 2000,
) -> Factorization:
    """``convex_nmf`` from a given start, without checks: pure, for ``jit`` and ``vmap``."""
    with jax.default_matmul_precision("highest"):
        norm = jnp.sqrt((X**2).sum())
        # G and H do not depend on the scale of X; unit samples keep EPS negligible and float32 in range.
        samples = (jnp.abs(X).max(1) > 0).sum()
        scale = jnp.where(norm > 0, jnp.sqrt(samples) / norm, 1.0)
        unit = X * scale
        gram = unit @ unit.T
        positive, negative = jnp.maximum(gram, 0), jnp.maximum(-gram, 0)

        def body(s: _State) -> _State:
            G, Ht = _step(positive, negative, s.G, s.Ht)
            step = s.step + 1
            error = s.error.at[step].set(_relative_error(unit, G, Ht))
            before = error[jnp.maximum(step - WINDOW, 0)]
            done = (tol > 0) & (step >= WINDOW) & (before - error[step] <= tol * before)
            return _State(G, Ht, error, step, done)

        error = jnp.zeros(max_steps + 1).at[0].set(_relative_error(unit, G, H.T))
        start = _State(G, H.T, error, jnp.int32(0), jnp.bool_(False))
        end = jax.lax.while_loop(lambda s: ~s.converged & (s.step < max_steps), body, start)
        held = jnp.where(jnp.arange(max_steps + 1) <= end.step, end.error, end.error[end.step])
        return Factorization(end.G, end.Ht.T, end.G.T @ X, held, end.converged, end.step)


def _step(positive: Array, negative: Array, G: Array, Ht: Array) -> tuple[Array, Array]:
    """One multiplicative step; ``positive`` and ``negative`` are the two parts of the Gram matrix."""
    pG, nG = positive @ G, negative @ G
    Ht = Ht * jnp.sqrt((pG + Ht @ (G.T @ nG)) / (nG + Ht @ (G.T @ pG) + EPS))
    HHt = Ht.T @ Ht
    G = G * jnp.sqrt((positive @ Ht + nG @ HHt) / (negative @ Ht + pG @ HHt + EPS))
    return G, Ht


def _relative_error(X: Array, G: Array, Ht: Array) -> Array:
    """From the residual itself: the short form through the Gram matrix cancels in float32."""
    residual = X - Ht @ (G.T @ X)
    return jnp.sqrt((residual**2).sum() / jnp.maximum((X**2).sum(), jnp.finfo(X.dtype).tiny))


def fit_heads(
    X: Float[Array | np.ndarray, "head sample feature"],
    labels: Int[Array | np.ndarray, "head sample"],
    k: Int[Array | np.ndarray, "head"],
    *,
    concepts: int,
    max_steps: int,
    tol: float,
) -> Factorization:
    """Factorises all heads of a layer in one compiled call.

    X:      features, zero rows for padding.   labels: cluster of each sample to start from, -1 for padding.
    k:      number of concepts per head, at most ``concepts`` (the padded number).
    """
    heads, samples, _ = X.shape
    batch = max(1, min(heads, BATCH_BYTES // (8 * samples**2)))
    X, labels, k = jnp.asarray(X), jnp.asarray(labels), jnp.asarray(k)
    return _fit_heads(X, labels, k, tol, concepts=concepts, max_steps=max_steps, batch=batch)


@partial(jax.jit, static_argnames=("concepts", "max_steps", "batch"))
def _fit_heads(
    X: Array, labels: Array, k: Array, tol: Array | float, *, concepts: int, max_steps: int, batch: int
) -> Factorization:
    def one(head: tuple[Array, Array, Array]) -> Factorization:
        values, assigned, number = head
        G, H = initial_factors(assigned, concepts, number)
        return factorise(values, G, H, tol, max_steps=max_steps)

    return jax.lax.map(one, (X, labels, k), batch_size=batch)
