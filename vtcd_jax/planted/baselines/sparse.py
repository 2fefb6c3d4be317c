"""A TopK sparse autoencoder per head, on tokens: a token has the concepts of its few largest codes.

A concept counts for a token if its code is among the ``ACTIVE`` largest and at least ``SHARE`` of the concept's largest
code on the first half, so that traces of a concept do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vtcd_jax.concepts.clustering.number_of_concepts import cluster_heads, head_keys
from vtcd_jax.concepts.dictionaries import fit_heads
from vtcd_jax.concepts.dictionaries.top_k import sparse_codes
from vtcd_jax.concepts.settings import ElbowRule

from .arrays import Label
from .centres import RESTARTS, SAMPLE
from .heads import as_sites, numbered, tokens_of

CONCEPTS, ACTIVE, STEPS = 12, 3, 500
SHARE = 0.25


def sparse_autoencoder(features: Mapping[str, np.ndarray], video: np.ndarray, seed: int) -> Label:
    """``CONCEPTS`` concepts per head, of which a token has at most ``ACTIVE``."""
    tokens = tokens_of(features)
    chosen = np.random.default_rng(seed).permutation(tokens.shape[1])[:SAMPLE]
    X = np.ascontiguousarray(tokens[:, np.sort(chosen)])
    number, rule = np.full(len(X), CONCEPTS), ElbowRule(rule="fixed", number=CONCEPTS)
    keys, mask = head_keys(jax.random.key(seed), len(X)), np.ones(X.shape[:2], bool)
    labels, _, _ = cluster_heads(X, number, keys, mask, rule, RESTARTS, 300)
    fitted = fit_heads(X, labels, number, method="top-k", concepts=CONCEPTS, max_steps=STEPS, tol=0.0, active=ACTIVE)
    encoder = np.asarray(fitted.encoder)
    largest = _codes(tokens, encoder).max(1)
    return partial(_labels, encoder, SHARE * largest)


def _labels(
    encoder: Float[np.ndarray, "head concept channel"],
    least: Float[np.ndarray, "head concept"],
    features: Mapping[str, np.ndarray],
    video: np.ndarray,
) -> dict[str, np.ndarray]:
    codes = _codes(tokens_of(features), encoder)
    codes = np.where((codes > 0) & (codes >= least[:, None]), codes, 0)
    first = np.argsort(-codes, axis=-1, kind="stable")[..., :ACTIVE]
    ids = np.where(np.take_along_axis(codes, first, -1) > 0, first, -1)
    return as_sites(numbered(ids, encoder.shape[1]), features)


def _codes(
    tokens: Float[np.ndarray, "head token channel"], encoder: Float[np.ndarray, "head concept channel"]
) -> Float[np.ndarray, "head token concept"]:
    one = partial(sparse_codes, real=jnp.ones(encoder.shape[1], bool), active=ACTIVE)
    return np.asarray(jax.vmap(one)(jnp.asarray(tokens), jnp.asarray(encoder)))
