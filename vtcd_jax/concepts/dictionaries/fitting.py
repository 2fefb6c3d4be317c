"""Fitting a dictionary by any method: one problem, several seeds, all heads of a layer.

    X  [sample feature]   labels [sample]  cluster to start from, -1 for padding   used []  concepts, of ``concepts``

``fit`` and ``fit_seeds`` check their input and run on the host; ``fit_padded`` and ``fit_labelled`` are pure and check
nothing, for ``jit`` and ``vmap``.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.devices.cpu import map_on_cores, max_batch, on_cpu

from ..clustering.kmeans import kmeans
from ..settings import METHODS, Method
from .archetypes import archetypes
from .centres import k_means
from .convex_nmf import Factorization, checked, factorise, initial_factors
from .nonnegative import nonnegative_nmf
from .products import Form, choose_form
from .semi_nmf import semi_nmf
from .top_k import top_k


def fit(
    X: Float[Array | np.ndarray, "sample feature"],
    k: int,
    key: Seed | None = None,
    *,
    method: Method = "convex-nmf",
    max_steps: int = 2000,
    tol: float = 1e-4,
    active: int = 3,
    form: Form = "auto",
    restarts: int = 10,
) -> Factorization:
    """A dictionary of ``k`` concepts.

    key:      seeds k-means (best of ``restarts``), from which every method starts; None: seed 0.
    method:   see the package.
    tol:      stop when the error fell by less than this share of itself over the last 20 steps (100 for "top-k"); 0
              runs all ``max_steps``. "k-means" stops when no label changes.
    active:   for "top-k": concepts per sample.   form: for "convex-nmf", see ``convex_nmf``.
    Raises InputError for k outside 1 … samples, NaN or infinite features, an unknown method, and features below zero
    with "nmf".
    """
    values = jnp.asarray(checked_for(method, checked(X, k)))
    root = as_key(0 if key is None else key)
    labels = kmeans(values, k, root, maximum=k, restarts=restarts).labels  # one program for all methods
    return fit_labelled(
        values, labels, k, tol, method=method, concepts=k, max_steps=max_steps, active=active, form=form
    )


def fit_seeds(
    X: Float[Array | np.ndarray, "sample feature"],
    k: int,
    keys: Array,
    *,
    method: Method = "convex-nmf",
    max_steps: int = 2000,
    tol: float = 1e-4,
    active: int = 3,
    form: Form = "auto",
    restarts: int = 1,
) -> Factorization:
    """``fit`` once per key, with a leading ``seed`` axis everywhere: how much a dictionary owes to its start.

    restarts: 1, because the best of several starts would make the seeds alike. The others are those of ``fit``.
    """
    if on_cpu():
        return map_on_cores(
            lambda i: fit(
                X, k, keys[i], method=method, max_steps=max_steps, tol=tol, active=active, form=form, restarts=restarts
            ),
            len(keys),
        )
    values = jnp.asarray(checked_for(method, checked(X, k)))
    one = partial(
        fit_padded, method=method, concepts=k, max_steps=max_steps, active=active, form=form, restarts=restarts
    )
    return jax.vmap(lambda key: one(values, jnp.ones(len(values), bool), k, key, tol))(keys)


def best_of(fits: Factorization) -> Factorization:
    """The fit with the smallest last error, of those along the first axis; the first of equal ones."""
    best = jnp.argmin(fits.error[:, -1])
    return jax.tree.map(lambda values: values[best], fits)


@partial(jax.jit, static_argnames=("method", "concepts", "max_steps", "active", "form", "restarts", "kmeans_steps"))
def fit_padded(
    X: Float[Array, "sample feature"],
    mask: Bool[Array, "sample"],
    used: Int[Array, ""] | int,
    key: Array,
    tol: Float[Array, ""] | float = 1e-4,
    *,
    method: Method,
    concepts: int,
    max_steps: int = 2000,
    active: int = 3,
    form: Form = "auto",
    restarts: int = 10,
    kmeans_steps: int = 300,
) -> Factorization:
    """``fit`` on the samples where ``mask`` is true, with ``used`` of ``concepts`` concepts, at most one per sample.

    Pure; an empty mask gives zeros. "nmf" needs X >= 0.
    """
    X, used = jnp.where(mask[:, None], X, 0), jnp.minimum(used, mask.sum())
    found = kmeans(X, jnp.maximum(used, 1), key, mask, maximum=concepts, restarts=restarts, max_steps=kmeans_steps)
    return fit_labelled(
        X, found.labels, used, tol, method=method, concepts=concepts, max_steps=max_steps, active=active, form=form
    )


@partial(jax.jit, static_argnames=("method", "concepts", "max_steps", "active", "form"))
def fit_labelled(
    X: Float[Array, "sample feature"],
    labels: Int[Array, "sample"],
    used: Int[Array, ""] | int,
    tol: Float[Array, ""] | float = 1e-4,
    *,
    method: Method,
    concepts: int,
    max_steps: int = 2000,
    active: int = 3,
    form: Form = "auto",
) -> Factorization:
    """``fit_padded`` from given labels, -1 for padding, whose rows of X are zero. Pure."""
    used = jnp.minimum(used, (labels >= 0).sum()).astype(jnp.int32)
    if method == "convex-nmf":
        G, H = initial_factors(labels, concepts, used)
        return factorise(X, G, H, tol, max_steps=max_steps, form=form)
    if method == "k-means":
        return k_means(X, labels, used, concepts=concepts, max_steps=max_steps)
    if method == "top-k":
        return top_k(X, labels, used, tol, concepts=concepts, max_steps=max_steps, active=active)
    rules = {"semi-nmf": semi_nmf, "nmf": nonnegative_nmf, "archetypes": archetypes}
    return rules[method](X, labels, used, tol, concepts=concepts, max_steps=max_steps)


def fit_heads(
    X: Float[Array | np.ndarray, "head sample feature"],
    labels: Int[Array | np.ndarray, "head sample"],
    k: Int[Array | np.ndarray, "head"],
    *,
    method: Method = "convex-nmf",
    concepts: int,
    max_steps: int,
    tol: float,
    active: int = 3,
    form: Form = "auto",
) -> Factorization:
    """``fit_labelled`` for all heads of a layer with one compiled program; a leading ``head`` axis everywhere.

    X: features, zero rows for padding.   k: number of concepts per head, at most ``concepts`` (the padded number).
    Raises InputError for features below zero with "nmf".
    """
    X, labels, k = checked_for(method, np.asarray(X)), np.asarray(labels), np.asarray(k)  # eager slices would compile
    heads, samples, features = X.shape
    if on_cpu():
        one = partial(fit_labelled, method=method, concepts=concepts, max_steps=max_steps, active=active, form=form)
        return map_on_cores(lambda h: one(X[h], labels[h], k[h], tol), heads)
    gram = method == "convex-nmf" and choose_form(form, samples, features) == "gram"
    batch = max_batch(heads, 8 * samples * (samples if gram else 2 * max(features, concepts)))
    return _fit_heads(
        X, labels, k, tol, method=method, concepts=concepts, max_steps=max_steps, active=active, form=form, batch=batch
    )


@partial(jax.jit, static_argnames=("method", "concepts", "max_steps", "active", "form", "batch"))
def _fit_heads(
    X: Array,
    labels: Array,
    k: Array,
    tol: Array | float,
    *,
    method: Method,
    concepts: int,
    max_steps: int,
    active: int,
    form: Form,
    batch: int,
) -> Factorization:
    one = partial(fit_labelled, method=method, concepts=concepts, max_steps=max_steps, active=active, form=form)
    return jax.lax.map(lambda head: one(*head, tol), (X, labels, k), batch_size=batch)


def checked_for(method: str, X: np.ndarray) -> np.ndarray:
    """``X``, if ``method`` is known and can work on it."""
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if method == "nmf" and X.size and X.min() < 0:
        raise InputError(
            f'method "nmf" needs features >= 0, the smallest is {X.min():.3g}; take "convex-nmf" or "semi-nmf"'
        )
    return X
