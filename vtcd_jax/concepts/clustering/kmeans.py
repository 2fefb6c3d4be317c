"""k-means on padded sets of tubelet features.

    X [sample feature]   mask [sample], True = a real sample   k   number of clusters, at most ``maximum``

Seeds by k-means++ (Arthur & Vassilvitskii 2007), Lloyd's steps until no label changes, best of several
starts. ``k`` is data, not a shape: one compiled program serves every k and, under ``vmap``, every head.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int


@struct.dataclass
class KMeans:
    """A clustering.

    centres:   float32 [maximum, feature]; rows from k on are meaningless.
    labels:    int32 [sample], 0 … k - 1; -1 for padding.
    objective: float32 [], mean squared distance of a sample to its centre.
    """

    centres: jax.Array
    labels: jax.Array
    objective: jax.Array


class _State(NamedTuple):
    centres: jax.Array
    labels: jax.Array
    step: jax.Array
    moved: jax.Array


@partial(jax.jit, static_argnames=("maximum", "restarts", "max_steps"))
def kmeans(
    X: Float[Array, "sample feature"],
    k: Int[Array, ""] | int,
    key: Array,
    mask: Bool[Array, "sample"] | None = None,
    drawn: Int[Array, ""] | int | None = None,
    *,
    maximum: int = 14,
    restarts: int = 10,
    max_steps: int = 300,
) -> KMeans:
    """Best of ``restarts`` starts by mean squared distance. ``k`` must lie in 1 … ``maximum``.

    drawn: samples that random numbers are drawn for, the real ones among them; None: all. Equal numbers give equal
           draws, however many samples are padding.
    """
    mask = jnp.ones(len(X), bool) if mask is None else mask
    drawn = len(X) if drawn is None else drawn
    # Clusters do not change under a shift; small numbers keep float32 distances exact.
    mean = jnp.where(mask[:, None], X, 0).sum(0) / jnp.maximum(mask.sum(), 1)
    centred = jnp.where(mask[:, None], X - mean, 0)
    with jax.default_matmul_precision("highest"):
        start = partial(_run, centred, k, mask, drawn, maximum=maximum, max_steps=max_steps)
        runs = jax.vmap(start)(jax.random.split(key, restarts))
    best = jax.tree.map(lambda a: a[jnp.argmin(runs.objective)], runs)
    return best.replace(centres=best.centres + mean)


def _run(
    X: Array, k: Array | int, mask: Array, drawn: Array | int, key: Array, *, maximum: int, max_steps: int
) -> KMeans:
    used = jnp.arange(maximum) < k

    def assign(centres: Array) -> Array:
        distance = (centres**2).sum(-1) - 2 * X @ centres.T  # the sample's own square changes no order
        return jnp.where(mask, jnp.argmin(jnp.where(used, distance, jnp.inf), axis=1), -1).astype(jnp.int32)

    def body(state: _State) -> _State:
        member = jax.nn.one_hot(state.labels, maximum, dtype=X.dtype)  # padding (-1) belongs nowhere
        count = member.sum(0)[:, None]
        centres = jnp.where(count > 0, member.T @ X / jnp.maximum(count, 1), state.centres)
        labels = assign(centres)
        return _State(centres, labels, state.step + 1, (labels != state.labels).any())

    seeds = plus_plus(X, mask, key, maximum, drawn)
    first = _State(seeds, assign(seeds), jnp.int32(0), jnp.bool_(True))
    last = jax.lax.while_loop(lambda s: s.moved & (s.step < max_steps), body, first)
    squares = ((X - last.centres[last.labels]) ** 2).sum(-1)
    return KMeans(last.centres, last.labels, jnp.where(mask, squares, 0).sum() / jnp.maximum(mask.sum(), 1))


def plus_plus(
    X: Float[Array, "sample feature"],
    mask: Bool[Array, "sample"],
    key: Array,
    count: int,
    drawn: Int[Array, ""] | int,
) -> Float[Array, "count feature"]:
    """``count`` samples, each drawn with probability proportional to its squared distance to those before
    it. drawn: see ``kmeans``.
    """
    # Drawn at once: compiling random numbers is slow. The noise of an index does not depend on how much is drawn, so
    # that rows of ``drawn`` are those of jax.random.gumbel(key, (count, drawn)).
    noise = jax.random.gumbel(key, (count * len(X),))[jnp.arange(count)[:, None] * drawn + jnp.arange(len(X))]
    first = X[jnp.argmax(jnp.where(mask, noise[0], -jnp.inf))]
    seeds = jnp.zeros((count, X.shape[1]), X.dtype).at[0].set(first)

    def draw(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        seeds, distance = carry
        # Where all distances are zero any real sample will do, but no padding.
        odds = jnp.log(jnp.maximum(distance, jnp.finfo(X.dtype).tiny)) + noise[i]
        chosen = X[jnp.argmax(jnp.where(mask, odds, -jnp.inf))]
        return seeds.at[i].set(chosen), jnp.minimum(distance, ((X - chosen) ** 2).sum(-1))

    return jax.lax.fori_loop(1, count, draw, (seeds, ((X - first) ** 2).sum(-1)))[0]
