"""Planted games: scores as functions of what is kept, whose exact Banzhaf values are known.

M  [mask, concept]  1 kept, 0 removed       X = 2 M - 1
value(M) -> y [mask]                        banzhaf() -> [concept], E[y | kept] - E[y | removed] under fair coins
extension(g) -> y                           the multilinear extension, the mean of y under coins of chances g [concept]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Walsh:
    """``Σ_T c_T Π_{i in T} X_i``. main: [concept].  terms: members int [term, order] and c [term], by order."""

    main: np.ndarray
    terms: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    constant: float = 0.0

    def value(self, kept: np.ndarray) -> np.ndarray:
        signs = 2 * kept - 1
        interactions = (signs[:, members].prod(-1) @ strengths for members, strengths in self.terms)
        return self.constant + signs @ self.main + sum(interactions)

    def banzhaf(self) -> np.ndarray:
        return 2 * self.main

    def extension(self, gates: jax.Array) -> jax.Array:
        return self.value(gates[None])[0]  # type: ignore[arg-type, return-value]


@dataclass(frozen=True)
class OfSum:
    """``link(Σ_i w_i M_i)`` for whole numbers w_i, so that the sum has few values and its distribution is exact."""

    weights: np.ndarray
    link: Callable[[np.ndarray], np.ndarray]

    def value(self, kept: np.ndarray) -> np.ndarray:
        return self.link(kept @ self.weights).astype(float)

    def banzhaf(self) -> np.ndarray:
        return np.array([self._value_of(i) for i in range(len(self.weights))])

    def extension(self, gates: jax.Array) -> jax.Array:
        low = int(np.minimum(self.weights, 0).sum())
        size = int(np.abs(self.weights).sum()) + 1
        chances = jnp.zeros(size).at[-low].set(1.0)
        for gate, weight in zip(gates, self.weights, strict=True):
            chances = (1 - gate) * chances + gate * jnp.roll(chances, int(weight))
        return chances @ (self.link(low + np.arange(size)) * 1.0)

    def _value_of(self, concept: int) -> float:
        low = int(np.minimum(self.weights, 0).sum())
        chances = np.zeros(int(np.abs(self.weights).sum()) + 1)  # of each sum of the others, from ``low`` on
        chances[-low] = 1.0
        for weight in np.delete(self.weights, concept):
            chances = (chances + np.roll(chances, weight)) / 2
        sums = low + np.arange(len(chances))
        return float(chances @ (self.link(sums + self.weights[concept]) * 1.0 - self.link(sums)))


def slopes_of(extension: Callable[[jax.Array], jax.Array]) -> Callable[[np.ndarray], np.ndarray]:
    """gates [row, concept] -> slopes [row, concept]."""
    compiled = jax.jit(jax.vmap(jax.grad(extension)))
    return lambda gates: np.asarray(compiled(jnp.asarray(gates, jnp.float32)), np.float64)


def sigmoid(centre: float, scale: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda total: 1 / (1 + np.exp(-(total - centre) / scale))


def above(threshold: float) -> Callable[[np.ndarray], np.ndarray]:
    """A 0/1 score."""
    return lambda total: (total > threshold) * 1.0


def subsets(concepts: int) -> np.ndarray:
    """float64 [2^n, n]: every way of keeping."""
    return (np.arange(2**concepts)[:, None] >> np.arange(concepts) & 1).astype(float)


def by_enumeration(value: Callable[[np.ndarray], np.ndarray], kept: np.ndarray) -> np.ndarray:
    """[concept]: mean score where a concept is kept minus where it is removed, over these masks."""
    y = value(kept)
    return np.array([y[column == 1].mean() - y[column == 0].mean() for column in kept.T])


def some_terms(rng: np.random.Generator, concepts: int, order: int, count: int) -> np.ndarray:
    """int [count, order]: distinct members of each term."""
    return np.array([rng.choice(concepts, order, replace=False) for _ in range(count)])
