"""Codes of samples on a dictionary that was fitted to others.

method                          codes of x on the rows wₖ                                    x ≈
convex-nmf, semi-nmf, nmf       non-negative least squares on rows of length one (``codes``)  Σ codeₖ wₖ / |wₖ|
k-means                         1 for the nearest row                                         Σ codeₖ wₖ
archetypes                      least squares over shares (``simplex``)                       Σ codeₖ wₖ
top-k                           relu(TopK(x Eᵀ)), the fitted encoder                          Σ codeₖ wₖ
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vtcd_jax.base.errors import InputError

from ..settings import METHODS, Method
from .centres import nearest
from .convex_nmf import Factorization
from .nnls import nonnegative_codes
from .simplex import simplex_codes
from .top_k import sparse_codes, unit_rows

SCALE_FREE = ("convex-nmf", "semi-nmf", "nmf")  # a row may grow and its codes shrink without any change of the fit


def encode(
    X: Float[Array | np.ndarray, "sample feature"],
    fitted: Factorization | Float[Array | np.ndarray, "concept feature"],
    *,
    method: Method,
    active: int = 3,
) -> Float[Array, "sample concept"]:
    """Codes of ``X`` on a dictionary, alone or in the ``Factorization`` that ``fit`` gave (which "top-k" needs).

    Raises InputError for an unknown method, NaN or infinite features, channels that differ, and "top-k" without its
    encoder.
    """
    whole = isinstance(fitted, Factorization)
    dictionary = jnp.asarray(fitted.dictionary if whole else fitted, jnp.float32)
    encoder = fitted.encoder if whole else None
    values = np.asarray(X, np.float32)
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if not np.isfinite(values).all():
        raise InputError("features hold NaN or infinite values; check the weights and the clips")
    if values.shape[1] != dictionary.shape[1]:
        raise InputError(f"features have {values.shape[1]} channels, the dictionary {dictionary.shape[1]}")
    if method == "top-k" and encoder is None:
        raise InputError('"top-k" encodes with its encoder; give the Factorization of `fit`, not the dictionary alone')
    mask = jnp.ones(len(values), bool)
    return encode_padded(jnp.asarray(values), mask, len(dictionary), dictionary, encoder, method=method, active=active)


@partial(jax.jit, static_argnames=("method", "active"))
def encode_padded(
    X: Float[Array, "sample feature"],
    mask: Bool[Array, "sample"],
    used: Int[Array, ""] | int,
    dictionary: Float[Array, "concept feature"],
    encoder: Float[Array, "concept feature"] | None,
    *,
    method: Method,
    active: int = 3,
) -> Float[Array, "sample concept"]:
    """``encode`` where ``mask`` is true, on the first ``used`` rows; zero elsewhere. Pure, for ``jit`` and ``vmap``."""
    X, real = jnp.where(mask[:, None], X, 0), jnp.arange(len(dictionary)) < used
    with jax.default_matmul_precision("highest"):
        if method in SCALE_FREE:
            codes = nonnegative_codes(X, jnp.where(real[:, None], dictionary, 0))
        elif method == "k-means":
            codes = jax.nn.one_hot(nearest(X, dictionary, real), len(dictionary), dtype=X.dtype)
        elif method == "archetypes":
            codes = simplex_codes(X, dictionary, used)
        else:
            assert encoder is not None
            codes = sparse_codes(X, encoder, real=real, active=active)
    return jnp.where(mask[:, None] & real, codes, 0)


@partial(jax.jit, static_argnames="method")
def reconstruct(
    codes: Float[Array, "sample concept"], dictionary: Float[Array, "concept feature"], *, method: Method
) -> Float[Array, "sample feature"]:
    """The samples that ``encode``'s codes stand for."""
    rows = unit_rows(dictionary) if method in SCALE_FREE else dictionary
    return jnp.matmul(codes, rows, precision="highest")


def memberships(fits: Factorization, method: Method, assignment: str) -> Float[np.ndarray, "head sample concept"]:
    """What decides a sample's concept (the largest entry of its row), for fits with a leading ``head`` axis.

    "convex-nmf": its weights or its codes, as ``assignment`` ("G" or "H") says; codes too where all weights of a sample
    are zero (thousands of steps take some below what float32 can hold: 1 in 50 after 10,000). The other methods have no
    weights that say which concept a sample belongs to (those of archetypes are zero for all but the extreme samples),
    so their codes decide: as they are where they are shares or on rows of length one, times the length of the
    dictionary's row where that is arbitrary, which makes them the length of the concept's part of the sample.
    """
    codes = np.swapaxes(np.asarray(fits.codes), 1, 2)
    if method == "convex-nmf" and assignment == "G":
        assert fits.weights is not None
        weights = np.asarray(fits.weights)
        return np.where((weights > 0).any(-1, keepdims=True), weights, codes)
    if method in ("semi-nmf", "nmf"):
        return codes * np.sqrt((np.asarray(fits.dictionary) ** 2).sum(-1))[:, None]
    return codes
