"""Softmax attention with one tap grammar for every network.

    query, key, value  [batch, *grid, head, channel], unscaled
    mixed              [batch, *grid, head, channel], the per-head result before the output projection

On the CPU the queries go in chunks that keep the logits in cache, heads outermost, scaled once at the query and
normalised after the product with the values: the same numbers as the textbook form, two to three times sooner.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from .taps import Tap

# Logits of one chunk [head, chunk, token] should stay in the second-level cache; measured flat between 28 and 112 rows.
CPU_QUERY_CHUNK = 112
# Below this many tokens the logits of a head fit in cache as they are.
CPU_CHUNK_FROM = 128


class Attention(nn.Module):
    """Multi-head self-attention over all tokens of a clip. Sites ``attn/query|key|value|mixed|out``.

    heads: number of heads.  key_bias: whether the key projection has a bias (VideoMAE's has none).
    """

    heads: int
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, tap: Tap) -> jax.Array:  # x [batch, time, height, width, channel]
        width = x.shape[-1]
        split = (*x.shape[:-1], self.heads, width // self.heads)
        query, key, value = (
            tap(f"attn/{name}", nn.Dense(width, use_bias=bias, name=name, dtype=x.dtype)(x).reshape(split))
            for name, bias in (("query", True), ("key", self.key_bias), ("value", True))
        )  # each [batch, time, height, width, head, channel]
        mixed = tap("attn/mixed", attend(query, key, value))
        return tap("attn/out", nn.Dense(width, name="out", dtype=x.dtype)(mixed.reshape(x.shape)))


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """``softmax(query·keyᵀ / √channel) · value`` over all tokens.

    query, key, value: [batch, *grid, head, channel]. Returns the shape of ``query``. Softmax in float32.
    """
    flat = [a.reshape(a.shape[0], -1, *a.shape[-2:]) for a in (query, key, value)]
    mixed = jax.lax.platform_dependent(*flat, cpu=_attend_cpu, default=jax.nn.dot_product_attention)
    return mixed.reshape(query.shape)


def _attend_cpu(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """query, key, value [batch, token, head, channel] -> the same."""
    query, key, value = (jnp.swapaxes(a, 1, 2) for a in (query, key, value))  # [batch, head, token, channel]
    query = query * jnp.asarray(1 / math.sqrt(query.shape[-1]), query.dtype)
    tokens = query.shape[2]
    if tokens < CPU_CHUNK_FROM:
        return jnp.swapaxes(_attend_rows(query, key, value), 1, 2)
    chunk = query_chunk(tokens)
    padded = jnp.pad(query, ((0, 0), (0, 0), (0, -tokens % chunk), (0, 0)))
    rows = jnp.moveaxis(padded.reshape(*padded.shape[:2], -1, chunk, padded.shape[-1]), 2, 0)
    mixed = jax.lax.map(jax.checkpoint(lambda q: _attend_rows(q, key, value)), rows)
    mixed = jnp.moveaxis(mixed, 0, 2).reshape(padded.shape)[:, :, :tokens]
    return jnp.swapaxes(mixed, 1, 2)


def _attend_rows(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """query [batch, head, row, channel], already scaled; key and value [batch, head, token, channel]."""
    logits = jnp.einsum("bhrc,bhtc->bhrt", query, key, preferred_element_type=jnp.float32)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    mixed = jnp.einsum("bhrt,bhtc->bhrc", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (mixed / weights.sum(-1, keepdims=True)).astype(value.dtype)


def query_chunk(tokens: int) -> int:
    """Rows of queries per step: the largest divisor of ``tokens`` from 28 to ``CPU_QUERY_CHUNK``, else the most."""
    divisors = [c for c in range(28, CPU_QUERY_CHUNK + 1) if tokens % c == 0]
    return max(divisors, default=CPU_QUERY_CHUNK)
