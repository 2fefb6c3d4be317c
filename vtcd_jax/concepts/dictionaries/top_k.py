"""TopK sparse autoencoder: a few active concepts per sample, chosen by a linear encoder.

    X  [sample feature]    features, any sign      E  [concept feature]   encoder
    D  [concept feature]   decoder, rows of length one
    H = relu(TopK(X Eᵀ))   codes [sample concept], at most ``active`` per row above zero
    minimise ‖X - H D‖²    by Adam on all samples at once

Tubelets are few, so every step sees them all and nothing is drawn: the same labels give the same dictionary. Encoder
and decoder start at the directions of the clusters' means. A concept that no sample has used for a while is dead: it
gets no gradient. It is put onto the sample that is fitted worst (Gao et al. use an auxiliary loss to the same end).
There is no bias: as with the other methods, a concept is a direction from zero.

Gao, Dupré la Tour, Tillman, Goh, Troll, Radford, Sutskever, Leike & Wu (2024), "Scaling and evaluating sparse
autoencoders", arXiv:2406.04093, §2.3-2.4.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from .convex_nmf import Factorization
from .iterate import descend, relative, unit_scale

RATE = 3e-3
WINDOW = 100  # Adam's error falls less evenly than that of the monotone methods
PATIENCE = 50  # steps without use after which a concept is dead


class _State(NamedTuple):
    """decoder, encoder [concept feature]; Adam's state; steps since each concept was last used [concept]; steps."""

    decoder: jax.Array
    encoder: jax.Array
    adam: Any
    unused: jax.Array
    step: jax.Array


def top_k(
    X: Float[Array, "sample feature"],
    labels: Int[Array, "sample"],
    used: Int[Array, ""],
    tol: Float[Array, ""] | float,
    *,
    concepts: int,
    max_steps: int,
    active: int,
) -> Factorization:
    """From cluster labels (-1 for padding, zero rows of X); concepts from ``used`` on stay zero. Pure.

    The error is not monotone. Dead concepts are revived in the first half of ``max_steps`` only, and at the end
    a concept may be dead again: its codes are zero.
    """
    real = jnp.arange(concepts) < used
    optimiser = optax.adam(RATE)
    with jax.default_matmul_precision("highest"):
        unit = X * unit_scale(X)
        codes = partial(sparse_codes, unit, real=real, active=active)

        def loss(parts: tuple[Array, Array]) -> Array:
            decoder, encoder = parts
            residual = unit - codes(encoder) @ decoder
            return (residual**2).sum() / jnp.maximum((labels >= 0).sum(), 1)

        def step(s: _State) -> _State:
            slope = jax.grad(loss)((s.decoder, s.encoder))
            moves, adam = optimiser.update(slope, s.adam)
            decoder, encoder = jax.tree.map(jnp.add, (s.decoder, s.encoder), moves)
            found = codes(encoder)
            unused = jnp.where((found > 0).any(0), 0, s.unused + 1)
            moved = _State(unit_rows(decoder), encoder, adam, unused, s.step + 1)
            return _revive(moved, unit, found, real & (unused >= PATIENCE) & (2 * s.step < max_steps))

        start = unit_rows(jax.nn.one_hot(labels, concepts, dtype=X.dtype).T @ unit)
        first = _State(start, start, optimiser.init((start, start)), jnp.zeros(concepts, jnp.int32), jnp.int32(0))
        end = descend(
            step,
            lambda s: relative(unit - codes(s.encoder) @ s.decoder, unit),
            first,
            tol,
            max_steps=max_steps,
            window=WINDOW,
        )
        decoder, encoder = end.state.decoder, end.state.encoder
        found = sparse_codes(X, encoder, real=real, active=active)
        return Factorization(None, found.T, decoder, end.error, end.converged, end.steps, encoder)


def sparse_codes(
    X: Float[Array, "sample feature"],
    encoder: Float[Array, "concept feature"],
    *,
    real: Bool[Array, "concept"],
    active: int,
) -> Float[Array, "sample concept"]:
    """relu(TopK(X Eᵀ)) over the ``real`` concepts; the first of equal ones."""
    before = X @ encoder.T
    _, chosen = jax.lax.top_k(jnp.where(real, before, -jnp.inf), min(active, len(encoder)))
    kept = jax.nn.one_hot(chosen, len(encoder), dtype=X.dtype).sum(1) * real
    return jax.nn.relu(before) * kept


def unit_rows(rows: Float[Array, "concept feature"]) -> Float[Array, "concept feature"]:
    """Rows of length one; zero rows stay zero."""
    return rows / jnp.maximum(jnp.sqrt((rows**2).sum(1, keepdims=True)), jnp.finfo(rows.dtype).tiny)


def _revive(s: _State, X: Array, codes: Array, dead: Array) -> _State:
    """Puts the dead concepts onto the samples that are fitted worst, one each, and forgets their moments."""
    misfit = ((X - codes @ s.decoder) ** 2).sum(1)
    target = unit_rows(X[jnp.argsort(-misfit)[jnp.clip(jnp.cumsum(dead) - 1, 0, len(X) - 1)]])
    anew = dead[:, None] & (target != 0).any(1, keepdims=True)
    adam = jax.tree.map(lambda m: jnp.where(anew, 0, m) if m.ndim == 2 else m, s.adam)
    return _State(
        jnp.where(anew, target, s.decoder), jnp.where(anew, target, s.encoder), adam,
        jnp.where(dead, 0, s.unused), s.step,
    )  # fmt: skip
