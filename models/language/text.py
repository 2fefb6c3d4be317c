"""The text tower of CLIP and its descendants, and how sentences are compared with videos.

    ids       int [text, token]: start token, byte pairs, end token, and whatever fills the row up
    stream    [text, 1, token, channel]: a sentence is one sequence, its tokens lie along time
    features  [text, embed]: the stream at the end token, normalised and projected

A token sees itself and those before it, so a sentence's features do not depend on what follows its end token.

Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn

from ..attention import causal_mask
from ..layers import Activation, Block
from ..linear import KERNEL_INIT
from ..streams import Grid, Stream, tap_tokens
from ..taps import Tap
from ..types import Inputs, Output


@dataclass(frozen=True)
class VideoTextConfig:
    """Sizes of the text tower, which every video-text network has; the defaults are CLIP ViT-B's.

    embed_dim:  channels of the space in which videos and sentences are compared.
    context_length: tokens of a sentence at most, start and end token included.
    end_token:  the id at whose first place a sentence's features are read.
    norm_eps, activation: of every norm and every MLP, in both towers. activation: "quick_gelu", or "gelu" (OpenCLIP's
    networks of LAION).
    """

    embed_dim: int = 512
    context_length: int = 77
    vocab_size: int = 49408
    end_token: int = 49407
    text_width: int = 512
    text_depth: int = 12
    text_num_heads: int = 8
    text_mlp_ratio: float = 4.0
    norm_eps: float = 1e-5
    activation: Activation = "quick_gelu"


class TextTower(nn.Module):
    """Sites, under ``text/``: ``embed``, ``block_i/…``, ``norm``."""

    config: VideoTextConfig

    def setup(self) -> None:
        c = self.config
        self.tokens = self.param("tokens", nn.initializers.normal(0.02), (c.vocab_size, c.text_width))
        self.positions = self.param("positions", nn.initializers.normal(0.01), (c.context_length, c.text_width))
        for i in range(c.text_depth):
            block = Block(c.text_num_heads, c.text_mlp_ratio, c.norm_eps, activation=c.activation)
            setattr(self, f"block_{i}", block)
        self.norm = nn.LayerNorm(epsilon=c.norm_eps)
        self.projection = self.param("projection", KERNEL_INIT, (c.text_width, c.embed_dim))

    def __call__(self, ids: jax.Array, tap: Tap) -> jax.Array:
        """ids: int [text, token], of ``context_length`` tokens or fewer. Returns features [text, embed]."""
        stream = self.embed(ids, tap)
        mask = causal_mask(ids.shape[1])
        for i in range(self.config.text_depth):
            stream = getattr(self, f"block_{i}")(stream, tap.scope(f"block_{i}"), mask)
        x = tap_tokens(tap, "norm", self.norm(stream.x), stream.grid)
        end = jnp.argmax(ids == self.config.end_token, axis=1)
        return x[jnp.arange(len(x)), 0, end] @ self.projection.astype(x.dtype)

    def embed(self, ids: jax.Array, tap: Tap) -> Stream:
        limit = self.config.context_length
        if ids.ndim != 2 or not 0 < ids.shape[1] <= limit:
            raise ValueError(f"text has shape {ids.shape}; this model takes [text, token] with at most {limit} tokens")
        x = (self.tokens[ids] + self.positions[: ids.shape[1]])[:, None]
        grid = Grid(ids.shape[1], 1, 1)
        return Stream(tap_tokens(tap, "embed", x, grid), grid)


def text_features(tower: TextTower, inputs: Inputs, tap: Tap) -> jax.Array | None:
    """Features of the sentences [text, embed]: those given, else the tower's; None where there is no text."""
    if inputs.text_features is not None or inputs.text is None:
        return inputs.text_features
    return tower(inputs.text, tap.scope("text"))


def compare(video: jax.Array, text: jax.Array | None, scale: jax.Array | float) -> Output:
    """Features of both and ``scale`` times their cosine, float32 logits [video, text]; no logits without text."""
    if text is None:
        return Output(video_features=video)
    cosine = jnp.einsum("ve,te->vt", unit(video.astype(jnp.float32)), unit(text.astype(jnp.float32)))
    return Output(logits=scale * cosine, video_features=video, text_features=text)


def unit(x: jax.Array) -> jax.Array:
    """Vectors along the last axis at length 1; a vector of zeros stays one."""
    squares = jnp.square(x).sum(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squares, jnp.finfo(x.dtype).tiny))
