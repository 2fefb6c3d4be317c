"""Convex NMF: concepts as non-negative combinations of the observed tubelet features.

    X  [sample feature]   features, any sign       G  [sample concept]  convex weights, >= 0
    H  [concept sample]   codes, >= 0              W = Gᵀ X, the dictionary [concept feature]
    minimise ‖Xᵀ - Xᵀ G H‖ by multiplicative steps; A = X Xᵀ, A⁺ and A⁻ its positive and negative parts:
        Hᵀ ← Hᵀ ∘ √((A⁺G + Hᵀ GᵀA⁻G) / (A⁻G + Hᵀ GᵀA⁺G))
        G  ← G  ∘ √((A⁺Hᵀ + A⁻G HHᵀ) / (A⁻Hᵀ + A⁺G HHᵀ))    with the new H

Zeros stay zero, so padded samples (zero rows of X and G, zero columns of H) and padded concepts change
nothing: heads with different numbers of tubelets and concepts run in one call. The code keeps G and H as rows of
concepts, so that the long axis is contiguous, and takes the products with A⁺ and A⁻ from ``products``.
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

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key

from ..clustering.kmeans import kmeans
from .iterate import descend, relative, unit_scale
from .products import Form, Products, split_products

EPS = 1e-9


@struct.dataclass
class Factorization:
    """A fitted factorization, of any method (``dictionaries``); under ``fit_heads`` every field has a leading
    ``head`` axis.

    weights:    float32 [sample, concept], G, non-negative; None where the dictionary is no combination of samples.
    codes:      float32 [concept, sample], H, non-negative.
    dictionary: float32 [concept, feature], W, in the units of the features; X ≈ Hᵀ W.
    error:      float32 [step + 1], ‖Xᵀ - WᵀH‖ / ‖X‖ before the first step and after each, held once
                converged.
    converged:  bool [], whether ``tol`` was met before ``max_steps``.
    steps:      int32 [], steps taken.
    encoder:    float32 [concept, feature], what ``encode`` multiplies samples with; None but for "top-k".
    """

    weights: jax.Array | None
    codes: jax.Array
    dictionary: jax.Array
    error: jax.Array
    converged: jax.Array
    steps: jax.Array
    encoder: jax.Array | None = None


class _State(NamedTuple):
    """G and H [concept sample], and W = G X [concept feature], which the error and the next step both need."""

    G: jax.Array
    H: jax.Array
    W: jax.Array


def convex_nmf(
    X: Float[Array | np.ndarray, "sample feature"],
    k: int,
    *,
    init: tuple[Float[Array | np.ndarray, "sample concept"], Float[Array | np.ndarray, "concept sample"]] | None = None,
    key: Seed | None = None,
    max_steps: int = 2000,
    tol: float = 1e-4,
    form: Form = "auto",
) -> Factorization:
    """Factorises features of any sign into ``k`` concepts.

    init: (G, H), non-negative; None starts from k-means (best of 10, drawn with ``key``, default seed 0).
    tol:  stop when the error fell by less than this share of itself over the last 20 steps; 0 runs all
          ``max_steps``.
    form: how products with the M x M matrix are taken (``products``): "gram", the published split; "features", for many
          samples, which never makes that matrix and ends in much the same error by other steps; "auto", "gram" up to
          2048 samples.
    Raises InputError for k outside 1 … samples, NaN or infinite features, or a start that does not fit.
    """
    values = checked(X, k)
    samples = len(values)
    if init is None:
        root = as_key(0 if key is None else key)
        G, H = initial_factors(kmeans(jnp.asarray(values), k, root, maximum=k).labels, k)
    else:
        G, H = (jnp.asarray(part, jnp.float32) for part in init)
        if G.shape != (samples, k) or H.shape != (k, samples) or min(G.min(), H.min()) < 0:
            raise InputError(f"init must be (G [{samples}, {k}], H [{k}, {samples}]), non-negative")
    return factorise(jnp.asarray(values), G, H, tol, max_steps=max_steps, form=form)


def checked(X: Float[Array | np.ndarray, "sample feature"], k: int) -> Float[np.ndarray, "sample feature"]:
    """``X`` in float32, if ``k`` concepts can be made of it."""
    values = np.asarray(X, np.float32)
    if not 1 <= k <= len(values):
        raise InputError(f"{k} concepts of {len(values)} tubelets; k must lie in 1 … {len(values)}")
    if not np.isfinite(values).all():
        raise InputError("features hold NaN or infinite values; check the weights and the clips")
    return values


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


@partial(jax.jit, static_argnames=("max_steps", "form"))
def factorise(
    X: Float[Array, "sample feature"],
    G: Float[Array, "sample concept"],
    H: Float[Array, "concept sample"],
    tol: Float[Array, ""] | float = 1e-4,
    *,
    max_steps: int = 2000,
    form: Form = "auto",
) -> Factorization:
    """``convex_nmf`` from a given start, without checks: pure, for ``jit`` and ``vmap``."""
    with jax.default_matmul_precision("highest"):
        unit = X * unit_scale(X)  # G and H do not depend on the scale of X
        step = partial(_step, split_products(unit, form), unit)
        start = _State(G.T, H, G.T @ unit)
        end = descend(step, lambda s: relative(unit - s.H.T @ s.W, unit), start, tol, max_steps=max_steps)
        G = end.state.G
        return Factorization(G.T, end.state.H, G @ X, end.error, end.converged, end.steps)


def _step(products: Products, X: Array, s: _State) -> _State:
    """One multiplicative step: H from the old G, then G from the new H."""
    G, H = s.G, s.H
    pG, nG = products(G, s.W)
    H = H * jnp.sqrt((pG + (nG @ G.T) @ H) / (nG + (pG @ G.T) @ H + EPS))
    pH, nH = products(H, H @ X)
    HH = H @ H.T
    G = G * jnp.sqrt((pH + HH @ nG) / (nH + HH @ pG + EPS))
    return _State(G, H, G @ X)
