"""Building blocks of the transformers: patch embedding, sine-cosine table, MLP, pre-norm block, masked tokens."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.core import Tracer

from .attention import Attention
from .linear import KERNEL_INIT, Linear, affine, in_runs
from .streams import Stream, tap_tokens
from .taps import Tap


class PatchEmbed(nn.Module):
    """Linear embedding of non-overlapping space-time patches (a convolution whose stride is its kernel).

    width: channels.  tubelet, patch: frames and pixels of a patch.  bias: whether it has one (CLIP's has none).
    """

    width: int
    tubelet: int
    patch: int
    bias: bool = True

    @nn.compact
    def __call__(self, video: jax.Array) -> jax.Array:
        """[batch, time, height, width, colour] -> [batch, time', height', width', channel]."""
        shape = (self.tubelet, self.patch, self.patch, video.shape[-1], self.width)
        kernel = self.param("kernel", _patch_init, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.width,)).astype(video.dtype) if self.bias else None
        weights = kernel.reshape(-1, self.width).astype(video.dtype), bias
        return affine(to_patches(video, self.tubelet, self.patch), weights)


def _patch_init(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return KERNEL_INIT(key, (int(np.prod(shape[:-1])), shape[-1])).reshape(shape)


def to_patches(video: jax.Array, tubelet: int, patch: int) -> jax.Array:
    """[batch, time, height, width, colour] -> [batch, time', height', width', pixel].

    Pixels of a patch are ordered (frame, row, column, colour), colour fastest.
    """
    b, t, h, w, c = video.shape
    split = video.reshape(b, t // tubelet, tubelet, h // patch, patch, w // patch, patch, c)
    return split.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, t // tubelet, h // patch, w // patch, -1)


def from_patches(patches: jax.Array, tubelet: int, patch: int) -> jax.Array:
    """Inverse of ``to_patches``."""
    b, t, h, w, pixels = patches.shape
    split = patches.reshape(b, t, h, w, tubelet, patch, patch, pixels // (tubelet * patch * patch))
    return split.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, t * tubelet, h * patch, w * patch, -1)


def sine_cosine_table(tokens: int, width: int) -> np.ndarray:
    """Fixed positions over the *flattened* token index, float32 [tokens, width].

    Even channels sin, odd channels cos of ``position / 10000^(2⌊j/2⌋/width)`` (Vaswani et al. 2017, §3.5), in
    float64 and rounded once, as the VideoMAE checkpoints expect.
    """
    channel = np.arange(width)
    angle = np.arange(tokens)[:, None] / np.power(10000.0, 2 * (channel // 2) / width)
    return np.where(channel % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


Activation = Literal["gelu", "quick_gelu"]


def activate(x: jax.Array, activation: Activation) -> jax.Array:
    """ "gelu": the exact (erf) form. "quick_gelu": ``x · sigmoid(1.702 x)``, as in CLIP. Computed in float32."""
    wide = x.astype(jnp.float32)
    if activation == "quick_gelu":
        return (wide * nn.sigmoid(1.702 * wide)).astype(x.dtype)
    # jax.nn.gelu goes through erfc, which takes more than twice as long on a CPU.
    return (0.5 * wide * (1 + jax.lax.erf(wide * (2**-0.5)))).astype(x.dtype)


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    hidden: int
    activation: Activation = "gelu"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = Linear(self.hidden, name="fc_1").weights(x.shape[-1], x.dtype)
        second = Linear(x.shape[-1], name="fc_2").weights(self.hidden, x.dtype)
        return in_runs(lambda rows: affine(activate(affine(rows, first), self.activation), second), x)


class Block(nn.Module):
    """Pre-norm transformer block: ``x + attention(norm_1(x))``, then ``x + mlp(norm_2(x))``.

    Sites ``resid_pre``, ``attn/…``, ``resid_mid``, ``mlp/out``, ``resid_post``; ``out`` is what the stream receives.
    layer_scale: both results are multiplied by a learned scale per channel (Touvron et al. 2021, CaiT, equation 4).
    """

    heads: int
    mlp_ratio: float
    norm_eps: float
    key_bias: bool = True
    activation: Activation = "gelu"
    layer_scale: bool = False

    @nn.compact
    def __call__(self, stream: Stream, tap: Tap, mask: np.ndarray | None = None) -> Stream:
        """mask: bool [query token, key token], which tokens of a sequence see which; None: all see all."""
        grid = stream.grid
        x = tap_tokens(tap, "resid_pre", stream.x, grid)
        normed = nn.LayerNorm(epsilon=self.norm_eps, name="norm_1", dtype=x.dtype)(x)
        added = Attention(self.heads, self.key_bias, name="attn")(normed, grid, tap.scope("attn"), mask)
        x = tap_tokens(tap, "resid_mid", x + tap_tokens(tap, "attn/out", self.scaled(added, "scale_1"), grid), grid)
        normed = nn.LayerNorm(epsilon=self.norm_eps, name="norm_2", dtype=x.dtype)(x)
        added = Mlp(int(x.shape[-1] * self.mlp_ratio), self.activation, name="mlp")(normed)
        x = x + tap_tokens(tap, "mlp/out", self.scaled(added, "scale_2"), grid)
        return Stream(tap_tokens(tap, "resid_post", x, grid), grid)

    def scaled(self, x: jax.Array, name: str) -> jax.Array:
        if not self.layer_scale:
            return x
        return x * self.param(name, nn.initializers.constant(0.1), x.shape[-1:]).astype(x.dtype)


def visible_tokens(token_mask: jax.Array | np.ndarray, traced: int) -> int:
    """Visible tokens of a time step: counted in the mask; ``traced`` where the mask is traced.

    Raises ValueError for a mask that leaves different numbers of tokens in its time steps or clips.
    """
    if isinstance(token_mask, Tracer):
        return traced
    counts = np.unique((~np.asarray(token_mask, bool)).sum((2, 3)))
    if len(counts) > 1 or counts[0] == 0:
        raise ValueError(f"a tube mask leaves the same number of tokens, at least one, at every step; got {counts}")
    return int(counts[0])


def keep_visible(x: jax.Array, token_mask: jax.Array | np.ndarray, visible: int) -> jax.Array:
    """[batch, t, h, w, channel] -> [batch, t, 1, visible, channel]: the tokens that the mask leaves, in index order."""
    b, t, h, w, c = x.shape
    order = jnp.argsort(token_mask.reshape(b, t, h * w), axis=-1, stable=True)[..., :visible]
    return jnp.take_along_axis(x.reshape(b, t, h * w, c), order[..., None], axis=2)[:, :, None]


def fill_hidden(x: jax.Array, mask_token: jax.Array, token_mask: jax.Array | np.ndarray) -> jax.Array:
    """Inverse of ``keep_visible`` with ``mask_token`` in the hidden places: [batch, t, h, w, channel]."""
    b, t, h, w = token_mask.shape
    hidden = token_mask.reshape(b, t, h * w)
    place = jnp.clip(jnp.cumsum(~hidden, axis=-1) - 1, 0, x.shape[3] - 1)
    filled = jnp.where(hidden[..., None], mask_token, jnp.take_along_axis(x[:, :, 0], place[..., None], axis=2))
    return filled.reshape(b, t, h, w, -1)
