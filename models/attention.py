"""Softmax attention with one tap grammar for every network.

    query, key, value  [batch, *grid, head, channel], unscaled
    mixed              [batch, *grid, head, channel], the per-head result before the output projection

On the CPU a head at a time is worked through, in runs of queries whose logits stay in cache, scaled once at the query
and normalised after the product with the values: the same numbers as the textbook form, three times sooner.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from .taps import Tap

# Logits that the CPU holds at a time, 5 MiB in float32. Measured flat from 4 to 10 MiB; with much fewer the
# products are too small to be fast, with much more the logits leave the cache.
CPU_LOGITS = 5 << 18


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
    batch, tokens, heads, channels = query.shape
    group, rows = tiles(batch * heads, tokens)

    def runs(a: jax.Array) -> jax.Array:  # [run, group, token, channel]: one head's keys and values fit in cache
        return jnp.swapaxes(a, 1, 2).reshape(-1, group, tokens, a.shape[-1])

    query = query * jnp.asarray(1 / math.sqrt(channels), query.dtype)
    attend_run = jax.checkpoint(partial(_attend_group, rows=rows))
    mixed = jax.lax.map(lambda run: attend_run(*run), (runs(query), runs(key), runs(value)))
    return jnp.swapaxes(mixed.reshape(batch, heads, tokens, -1), 1, 2)


def _attend_group(query: jax.Array, key: jax.Array, value: jax.Array, rows: int) -> jax.Array:
    """``rows`` queries at a time. query [group, token, channel], already scaled; key, value [group, token, channel]."""
    group, tokens, channels = query.shape
    if rows >= tokens:
        return _attend_rows(query, key, value)
    padded = jnp.pad(query, ((0, 0), (0, -tokens % rows), (0, 0)))
    parts = jnp.swapaxes(padded.reshape(group, -1, rows, channels), 0, 1)
    mixed = jax.lax.map(jax.checkpoint(lambda part: _attend_rows(part, key, value)), parts)
    return jnp.swapaxes(mixed, 0, 1).reshape(group, -1, mixed.shape[-1])[:, :tokens]


def _attend_rows(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """query [group, row, channel], already scaled; key and value [group, token, channel]."""
    logits = jnp.einsum("grc,gtc->grt", query, key, preferred_element_type=jnp.float32)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    mixed = jnp.einsum("grt,gtc->grc", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (mixed / weights.sum(-1, keepdims=True)).astype(value.dtype)


def tiles(slices: int, tokens: int, logits: int = CPU_LOGITS) -> tuple[int, int]:
    """(group, rows): heads and queries that run together, with at most ``logits`` logits.

    slices: heads in all, over the batch. A divisor where there is one of half the size or more, so nothing is padded.
    """
    most = max(1, min(tokens, logits // tokens))
    rows = next((r for r in range(most, most // 2, -1) if tokens % r == 0), most)
    fit = min(slices, max(1, logits // tokens**2))
    return next(g for g in range(fit, 0, -1) if slices % g == 0), rows
