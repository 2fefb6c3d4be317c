"""Losses that several tasks share. All are averages over clips unless stated otherwise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def soft_jaccard(
    logits: Float[Array, "*lead height width"], truth: Float[Array, "*lead height width"]
) -> Float[Array, "*lead"]:
    """1 - intersection / union of each mask, with probabilities as soft masks; a union below 1 pixel counts as 1.

    logits: of belonging to the mask.  truth: 0 or 1.
    """
    likely = jax.nn.sigmoid(logits)
    both = (likely * truth).sum((-2, -1))
    either = (likely + truth - likely * truth).sum((-2, -1))
    return 1 - both / either.clip(1.0)


def contrastive(logits: Float[Array, "clip clip"], label: Int[Array, "clip"]) -> Float[Array, "clip"]:
    """Cross-entropy of each clip over the captions of a batch, plus that of each caption over its clips.

    Radford et al. 2021 (CLIP), figure 3. Captions with the same label are equally right.

    logits: similarity of clip i and caption j.  label: of the clip and its caption.
    """
    same = (label[:, None] == label).astype(jnp.float32)
    same = same / same.sum(1, keepdims=True)
    return optax.softmax_cross_entropy(logits, same) + optax.softmax_cross_entropy(logits.T, same)
