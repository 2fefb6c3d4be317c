"""Softmax attention with one tap grammar for every network.

    stream             [batch, sequence, token, channel]; ``Grid`` says where its tokens lie
    query, key, value  [batch, time, height, width, head, channel], unscaled; special tokens beside them in ``…_cls``
    mixed              the per-head result before the output projection, in the same layout
    key_logit          logarithm of how much of a key is seen, added to its logits, channel of one: zeros unless edited

On the CPU a head at a time is worked through, in runs of queries whose logits stay in cache, scaled once at the query
and normalised after the product with the values: the same numbers as the textbook form, three times sooner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from .linear import Linear
from .streams import Grid, tap_added, tap_tokens
from .taps import Tap

# Logits that the CPU holds at a time, 5 MiB in float32. Measured flat from 4 to 10 MiB; with much fewer the
# products are too small to be fast, with much more the logits leave the cache.
CPU_LOGITS = 5 << 18
# Values of short sequences that the CPU holds at a time, with their queries, keys, values and results: 2 MiB.
CPU_GROUP = 1 << 19


class Attention(nn.Module):
    """Multi-head self-attention. Sites ``query|key|value|key_logit|mixed``; the caller taps what it adds as ``out``.

    heads: number of heads.  key_bias: whether the key projection has a bias (VideoMAE's has none).
    over:  "sequence", among the tokens of each sequence; "time", among the frames at each position (then a sequence is
           a frame and has no special tokens).
    """

    heads: int
    key_bias: bool = True
    over: Literal["sequence", "time"] = "sequence"

    @nn.compact
    def __call__(self, x: jax.Array, grid: Grid, tap: Tap, mask: np.ndarray | None = None) -> jax.Array:
        """x [batch, sequence, token, channel] -> the same; mask: see ``attend``."""
        width = x.shape[-1]
        split = (*x.shape[:-1], self.heads, width // self.heads)
        query, key, value = (
            tap_tokens(tap, name, Linear(width, bias, name=name)(x).reshape(split), grid)
            for name, bias in (("query", True), ("key", self.key_bias), ("value", True))
        )  # each [batch, sequence, token, head, channel]
        added = tap_added(tap, "key_logit", (*split[:-1], 1), grid)
        if self.over == "time":
            query, key, value = (jnp.swapaxes(a, 1, 2) for a in (query, key, value))
            added = None if added is None else jnp.swapaxes(added, 1, 2)
        mixed = attend(query, key, value, mask, added)
        mixed = tap_tokens(tap, "mixed", jnp.swapaxes(mixed, 1, 2) if self.over == "time" else mixed, grid)
        return Linear(width, name="out")(mixed.reshape(x.shape))


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: np.ndarray | None = None,
    added: jax.Array | None = None,
) -> jax.Array:
    """``softmax(query·keyᵀ / √channel + added) · value`` over the tokens of each sequence. Softmax in float32.

    The softmax does not change when the same is added to all logits, so hiding every key would hide none. The result is
    therefore multiplied by how much a query sees of the key that it sees most of (``seen_most``): 1 where any key is
    untouched, 0 where all are hidden.

    query: [*sequence, query token, head, channel].  key, value: [*sequence, key token, head, channel].
    mask:  bool [query token, key token], True = seen; None = all are seen.
    added: [*sequence, key token, head, 1], to a key's logits: 0 all of it is seen, -inf nothing; None: all of all.
    Returns the shape of ``query``.
    """
    operands = [query, key, value] if added is None else [query, key, value, added]
    flat = [a.reshape(-1, *a.shape[-3:]) for a in operands]
    mixed = jax.lax.platform_dependent(*flat, cpu=partial(_attend_cpu, mask=mask), default=partial(_attend, mask=mask))
    mixed = mixed.reshape(query.shape)
    return mixed if added is None else mixed * seen_most(added, mask).astype(mixed.dtype)


def seen_most(added: jax.Array, mask: np.ndarray | None = None) -> jax.Array:
    """How much is seen of the key that is seen most: [*sequence, 1 or query token, head, 1] in [0, 1].

    added, mask: see ``attend``. Linear in the share that is seen when all keys share one, so that paths of soft gates
    integrate well; where several keys are seen most, they share the slope evenly.
    """
    keys = jnp.swapaxes(added[..., 0], -1, -2)  # [*sequence, head, key]
    if mask is None:
        most = keys.max(-1)[..., None, :, None]
    else:
        of_query = jnp.where(mask, keys[..., None, :], -jnp.inf).max(-1)  # [*sequence, head, query]
        most = jnp.swapaxes(of_query, -1, -2)[..., None]
    return jnp.exp(jnp.where(most > 0, 0.0, most))


def causal_mask(tokens: int, ahead: int = 0) -> np.ndarray:
    """bool [query, key]: a token sees itself, all before it and ``ahead`` after it."""
    return np.tri(tokens, k=ahead, dtype=bool)


def _attend(
    query: jax.Array, key: jax.Array, value: jax.Array, added: jax.Array | None = None, *, mask: np.ndarray | None
) -> jax.Array:
    """On accelerators: cuDNN's fused kernel on NVIDIA's, for 16-bit values; XLA's products and softmax otherwise."""
    bias = None if added is None else jnp.transpose(added, (0, 2, 3, 1)).astype(query.dtype)  # [., head, 1, key]
    seen = None if mask is None else mask[None, None]
    if query.dtype.itemsize == 2 and has_cudnn() and bias is None:
        query, key, value = _together(query, key, value)
        return jax.nn.dot_product_attention(query, key, value, mask=seen, implementation="cudnn")
    return jax.nn.dot_product_attention(query, key, value, bias, seen)


@jax.custom_jvp
def _together(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The same arrays; under ``vmap`` all of them with the axis that any of them has.

    The fused kernel wants that, and in the first block only the edited keys differ from row to row.
    """
    return _with_axis(*arrays)


@_together.defjvp
def _together_jvp(arrays: tuple, tangents: tuple) -> tuple:
    return _together(*arrays), tangents


@jax.custom_batching.custom_vmap
def _with_axis(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    return arrays


@_with_axis.def_vmap
def _with_axis_vmap(size: int, batched: Sequence[bool], *arrays: jax.Array) -> tuple:
    every = (a if b else jnp.broadcast_to(a, (size, *a.shape)) for a, b in zip(arrays, batched, strict=True))
    return _with_axis(*every), tuple(True for _ in arrays)


def has_cudnn() -> bool:
    """Whether the default device is one of NVIDIA's."""
    return jax.default_backend() == "gpu" and "cuda" in jax.devices()[0].client.platform_version.lower()


def _attend_cpu(
    query: jax.Array, key: jax.Array, value: jax.Array, added: jax.Array | None = None, *, mask: np.ndarray | None
) -> jax.Array:
    """query [sequence, query, head, channel]; key, value [sequence, key, head, channel] -> the shape of query."""
    sequences, queries, heads, channels = query.shape
    group, rows = tiles(sequences * heads, queries, key.shape[1], channels)

    def runs(a: jax.Array) -> jax.Array:  # [run, group, token, channel]: one head's keys and values fit in cache
        return jnp.swapaxes(a, 1, 2).reshape(-1, group, a.shape[1], a.shape[-1])

    query = query * jnp.asarray(1 / math.sqrt(channels), query.dtype)
    operands = [runs(a) for a in (query, key, value, added) if a is not None]
    attend_run = jax.checkpoint(partial(_attend_group, rows=rows, mask=mask))
    mixed = jax.lax.map(lambda run: attend_run(*run), operands)
    return jnp.swapaxes(mixed.reshape(sequences, heads, queries, -1), 1, 2)


def _attend_group(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    added: jax.Array | None = None,
    *,
    rows: int,
    mask: np.ndarray | None,
) -> jax.Array:
    """``rows`` queries at a time. query [group, query, channel], already scaled; key, value [group, key, channel]."""
    group, queries, channels = query.shape
    if rows >= queries:
        return _attend_rows(query, key, value, mask, added)
    missing = -queries % rows
    parts = jnp.pad(query, ((0, 0), (0, missing), (0, 0))).reshape(group, -1, rows, channels)
    parts = jnp.swapaxes(parts, 0, 1)
    if mask is None:
        mixed = jax.lax.map(jax.checkpoint(lambda part: _attend_rows(part, key, value, None, added)), parts)
    else:
        seen = np.pad(mask, ((0, missing), (0, 0)), constant_values=True).reshape(-1, rows, key.shape[1])
        run = jax.checkpoint(lambda part: _attend_rows(part[0], key, value, part[1], added))
        mixed = jax.lax.map(run, (parts, jnp.asarray(seen)))
    return jnp.swapaxes(mixed, 0, 1).reshape(group, -1, mixed.shape[-1])[:, :queries]


def _attend_rows(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: np.ndarray | jax.Array | None,
    added: jax.Array | None,
) -> jax.Array:
    """query [group, row, channel], already scaled; key and value [group, key, channel]; mask [row, key]; added
    [group, key, 1]."""
    logits = jnp.einsum("grc,gtc->grt", query, key, preferred_element_type=jnp.float32)
    if added is not None:
        logits = logits + jnp.swapaxes(added, 1, 2)
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    mixed = jnp.einsum("grt,gtc->grc", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    return (mixed / weights.sum(-1, keepdims=True)).astype(value.dtype)


def tiles(slices: int, queries: int, keys: int, channels: int, logits: int = CPU_LOGITS) -> tuple[int, int]:
    """(group, rows): heads and queries that run together: several heads with at most ``CPU_GROUP`` values in all, or
    some rows of one head with at most ``logits`` logits.

    slices: heads in all, over the sequences. A divisor where there is one of half the size or more, so nothing is
    padded.
    """
    most = max(1, min(queries, logits // keys))
    rows = next((r for r in range(most, most // 2, -1) if queries % r == 0), most)
    fit = min(slices, max(1, min(logits, CPU_GROUP) // (queries * keys + 2 * (queries + keys) * channels)))
    return next(g for g in range(fit, 0, -1) if slices % g == 0), rows
