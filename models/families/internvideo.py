"""InternVideo's multi-modality network: CLIP frame by frame, and extractors that gather a video from the frames.

After some blocks an extractor looks at all tokens of a clip's frames, patches first shifted by what a depth-wise
convolution over (time, height, width) sees around them, with one query: the video's class token, which starts as a
learned vector and goes from extractor to extractor. The frames never see the extractors. The video's feature mixes that
token with the mean class token of the frames, channel by channel.

    stream  [batch, time, 1 + patch, channel], a frame is a sequence
    video   [batch, part, 1, channel], the class token of each part of a clip (one part unless ``pseudo_clips`` cuts it)

Wang et al. (2022), "InternVideo: General Video Foundation Models via Generative and Discriminative Learning", its
video-language network; Li et al. (2022), "UniFormerV2", section 3.3, "Global UniBlock" (the extractors).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from ..attention import attend
from ..language.text import TextTower, VideoTextConfig, compare, text_features
from ..layers import Activation, Block, Mlp
from ..linear import KERNEL_INIT, Linear
from ..staged import Staged
from ..streams import Grid, Stream, join, positions, tap_tokens
from ..taps import Tap
from ..types import Family, Inputs, Output
from .clip import LOGIT_SCALE, FrameEmbed, check_video, preprocessing, token_grid


@dataclass(frozen=True)
class InternVideoConfig(VideoTextConfig):
    """Sizes of the video tower; the defaults are B/16 at 8 frames, as it was trained.

    extractor_blocks: the blocks after which an extractor stands, in order.
    pseudo_clips: parts of equal length into which the frames are cut, each a video with its own row of features and
    logits. The released code takes 8 frames at a time, so that 16 frames become 2 videos.
    """

    family: str = "internvideo-mm"
    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    pseudo_clips: int = 1
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    extractor_blocks: tuple[int, ...] = (8, 9, 10, 11)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches along time, height and width."""
        return token_grid(self)


# Of the published networks: what differs from the defaults.
SIZES: dict[str, dict[str, Any]] = {
    "B/16": {},
    "L/14": {
        "patch_size": 14, "width": 1024, "depth": 24, "num_heads": 16, "embed_dim": 768,
        "text_width": 768, "text_num_heads": 12, "extractor_blocks": (20, 21, 22, 23),
    },
}  # fmt: skip


def config(size: str, **fields: Any) -> InternVideoConfig:
    """InternVideo-MM of a published size: "B/16" or "L/14"."""
    return InternVideoConfig(**SIZES[size] | fields)


@struct.dataclass
class Carry:
    """What goes from block to block. video: [batch, part, 1, channel]."""

    stream: Stream
    video: jax.Array


class DepthwiseConv(nn.Module):
    """Convolution over (time, height, width) with a kernel of 3 x 3 x 3 for each channel, zeros beyond the edges.

    As 27 shifted products: XLA's grouped convolution is hundreds of times slower on the CPU (0.8 s against 2 ms for a
    clip of 8 x 14 x 14 x 768).
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[batch, time, height, width, channel] -> the same."""
        time, height, width, channels = x.shape[1:]
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=(0, 1, 2), out_axis=())
        kernel = self.param("kernel", init, (3, 3, 3, channels)).astype(x.dtype)
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
        y = jnp.broadcast_to(self.param("bias", nn.initializers.zeros, (channels,)).astype(x.dtype), x.shape)
        for a, b, c in itertools.product(range(3), repeat=3):
            y = y + padded[:, a : a + time, b : b + height, c : c + width] * kernel[a, b, c]
        return y


class CrossAttention(nn.Module):
    """The video's class token attends to all tokens of its frames. Sites ``key|value`` with their ``_cls``, and
    ``query_cls|mixed_cls``."""

    heads: int

    @nn.compact
    def __call__(self, video: jax.Array, memory: jax.Array, grid: Grid, tap: Tap) -> jax.Array:
        """video [batch, part, 1, channel], memory [batch, time, token, channel] -> the shape of video."""
        width = video.shape[-1]

        def project(name: str, x: jax.Array) -> jax.Array:
            return Linear(width, name=name)(x).reshape(*x.shape[:-1], self.heads, -1)

        query = tap("query_cls", project("query", video))
        key, value = (tap_tokens(tap, name, project(name, memory), grid) for name in ("key", "value"))
        of_part = (*video.shape[:2], -1, *key.shape[3:])  # the frames of a part, one after the other
        mixed = tap("mixed_cls", attend(query, key.reshape(of_part), value.reshape(of_part)))
        return Linear(width, name="out")(mixed.reshape(video.shape))


class Extractor(nn.Module):
    """One step of the video's class token.

    Sites ``memory`` with its ``_cls``, ``attn/…``, and the token's ``resid_pre_cls``, ``attn/out_cls``,
    ``resid_mid_cls``, ``mlp/out_cls``, ``resid_post_cls``.
    """

    heads: int
    mlp_ratio: float
    norm_eps: float
    activation: Activation

    @nn.compact
    def __call__(self, carry: Carry, tap: Tap) -> jax.Array:
        """The token after this extractor, [batch, part, 1, channel]."""
        grid, x = carry.stream.grid, tap("resid_pre_cls", carry.video)
        memory = tap_tokens(tap, "memory", self.surrounded(carry, DepthwiseConv(name="surround")), grid)
        memory = nn.LayerNorm(epsilon=self.norm_eps, name="norm_memory", dtype=x.dtype)(memory)
        normed = nn.LayerNorm(epsilon=self.norm_eps, name="norm_1", dtype=x.dtype)(x)
        added = CrossAttention(self.heads, name="attn")(normed, memory, grid, tap.scope("attn"))
        x = tap("resid_mid_cls", x + tap("attn/out_cls", added))
        normed = nn.LayerNorm(epsilon=self.norm_eps, name="norm_2", dtype=x.dtype)(x)
        added = Mlp(int(x.shape[-1] * self.mlp_ratio), self.activation, name="mlp")(normed)
        return tap("resid_post_cls", x + tap("mlp/out_cls", added))

    def surrounded(self, carry: Carry, convolution: DepthwiseConv) -> jax.Array:
        """The stream with every patch shifted by its surroundings within its part of the clip."""
        x, grid = carry.stream.x, carry.stream.grid
        patches = positions(x, grid)
        parts = patches.reshape(-1, grid.time // carry.video.shape[1], *patches.shape[2:])
        return join(carry.stream.special, patches + convolution(parts).reshape(patches.shape), x.shape[1])


class InternVideo(Staged):
    """Sites: ``embed``, ``block_i/…`` with ``_cls``; ``extractor_j/…`` counted from 1; ``video_cls``, ``norm_cls``
    [batch, part, 1, channel]; ``pooled`` [batch * part, embed]; ``text/…``."""

    config: InternVideoConfig

    def setup(self) -> None:
        c = self.config
        self.embedding = FrameEmbed(c.width, c.patch_size, c.grid, c.norm_eps)
        for i in range(c.depth):
            setattr(self, f"block_{i}", Block(c.num_heads, c.mlp_ratio, c.norm_eps, activation=c.activation))
        for j in range(1, 1 + len(c.extractor_blocks)):
            setattr(self, f"extractor_{j}", Extractor(c.num_heads, c.mlp_ratio, c.norm_eps, c.activation))
        self.video_token = self.param("video_token", nn.initializers.normal(0.02), (c.width,))
        self.balance = self.param("balance", nn.initializers.zeros, (c.width,))
        self.norm = nn.LayerNorm(epsilon=c.norm_eps)
        self.projection = self.param("projection", KERNEL_INIT, (c.width, c.embed_dim))
        self.text = TextTower(c)
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(LOGIT_SCALE), (1,))

    def embed(self, inputs: Inputs, tap: Tap) -> Carry:
        c, video = self.config, inputs.video
        check_video(video, c.num_frames, c.image_size)
        stream = self.embedding(video)
        token = jnp.broadcast_to(self.video_token.astype(video.dtype), (len(video), c.pseudo_clips, 1, c.width))
        return Carry(Stream(tap_tokens(tap, "embed", stream.x, stream.grid), stream.grid), token)

    def block(self, carry: Carry, index: int, tap: Tap) -> Carry:
        stream = getattr(self, f"block_{index}")(carry.stream, tap.scope(f"block_{index}"))
        if index not in self.config.extractor_blocks:
            return Carry(stream, carry.video)
        name = self.block_names(index)[1]
        return Carry(stream, getattr(self, name)(Carry(stream, carry.video), tap.scope(name)))

    def block_names(self, index: int) -> tuple[str, ...]:
        if index not in self.config.extractor_blocks:
            return (f"block_{index}",)
        return f"block_{index}", f"extractor_{1 + self.config.extractor_blocks.index(index)}"

    def head(self, carry: Carry, inputs: Inputs, tap: Tap) -> Output:
        video, frames = carry.video, carry.stream.special
        frames = frames.reshape(*video.shape[:2], -1, video.shape[-1]).mean(2, keepdims=True)
        share = nn.sigmoid(self.balance).astype(video.dtype)
        video = tap("norm_cls", self.norm(tap("video_cls", (1 - share) * video + share * frames)))
        pooled = tap("pooled", video.reshape(-1, video.shape[-1]) @ self.projection.astype(video.dtype))
        return compare(pooled, text_features(self.text, inputs, tap), jnp.exp(self.logit_scale))


PAPER = """\
@article{wang2022internvideo,
  title   = {{InternVideo}: General Video Foundation Models via Generative and Discriminative Learning},
  author  = {Wang, Yi and Li, Kunchang and Li, Yizhuo and He, Yinan and Huang, Bingkun and Zhao, Zhiyu and
             Zhang, Hongjie and Xu, Jilan and Liu, Yi and Wang, Zun and others},
  journal = {arXiv preprint arXiv:2212.03191},
  year    = {2022}
}"""
FAMILIES = {
    "internvideo-mm": Family(InternVideoConfig, InternVideo, preprocessing, "InternVideo-MM", (PAPER,), needs=("text",))
}
