"""ViCLIP: CLIP whose image transformer attends over all patches of all frames at once.

A clip is one sequence: a class token, then patches in (time, height, width) order. Patches carry CLIP's learned
positions and a learned vector for their frame; a single image gets the mean of those. The class token, normalised and
projected, is the clip's feature. Logits are 100 times the cosine with the sentences' features, the factor with which
the published code predicts labels; the temperature that the network learns serves its training loss alone.

Wang et al. (2024), "InternVid: A Large-scale Video-Text Dataset for Multimodal Understanding and Generation", ICLR,
section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ..language.text import TextTower, VideoTextConfig, compare, text_features
from ..layers import Block, PatchEmbed
from ..linear import KERNEL_INIT
from ..staged import Staged
from ..streams import Grid, Stream, join, tap_tokens
from ..taps import Tap
from ..types import Family, Inputs, Output, Preprocessing
from .clip import check_video, token_grid

LABEL_SCALE = 100.0


@dataclass(frozen=True)
class ViCLIPConfig(VideoTextConfig):
    """Sizes of the video tower; the defaults are B/16."""

    context_length: int = 32
    family: str = "viclip"
    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0

    @property
    def grid(self) -> tuple[int, int, int]:
        """Patches along time, height and width."""
        return token_grid(self)


# Of the published networks: what differs from the defaults.
SIZES: dict[str, dict[str, Any]] = {
    "B/16": {},
    "L/14": {
        "patch_size": 14, "width": 1024, "depth": 24, "num_heads": 16, "embed_dim": 768,
        "text_width": 768, "text_num_heads": 12,
    },
}  # fmt: skip


def config(size: str, **fields: Any) -> ViCLIPConfig:
    """ViCLIP of a published size: "B/16" or "L/14"."""
    return ViCLIPConfig(**SIZES[size] | fields)


def preprocessing(config: ViCLIPConfig) -> Preprocessing:
    """ImageNet's colours."""
    return Preprocessing(config.num_frames, config.image_size, config.image_size)


class ClipEmbed(nn.Module):
    """A clip as one sequence of a class token and patches, with positions and times, normalised.

    patch: pixels along a side.  grid: patches along time, height and width.
    """

    width: int
    patch: int
    grid: tuple[int, int, int]
    norm_eps: float

    @nn.compact
    def __call__(self, video: jax.Array) -> Stream:
        """[batch, time, height, width, colour] -> [batch, 1, 1 + patch, channel]; time as in ``grid``, or 1."""
        time, height, width = self.grid
        patches = PatchEmbed(self.width, 1, self.patch, bias=False, name="patch")(video)
        init = nn.initializers.normal(0.02)
        class_token = self.param("class_token", init, (self.width,)).astype(video.dtype)
        positions = self.param("positions", init, (1 + height * width, self.width)).astype(video.dtype)
        times = self.param("times", init, (time, self.width)).astype(video.dtype)
        if video.shape[1] == 1:
            times = times.mean(0, keepdims=True)
        x = patches + positions[1:].reshape(height, width, self.width) + times[:, None, None]
        first = jnp.broadcast_to(class_token + positions[0], (len(x), 1, 1, self.width))
        x = nn.LayerNorm(epsilon=self.norm_eps, name="norm", dtype=x.dtype)(join(first, x, 1))
        return Stream(x, Grid(video.shape[1], height, width, special=1))


class ViCLIP(Staged):
    """Sites: ``embed``, ``block_i/…`` and ``norm``, each with its ``_cls``; ``pooled`` [batch, embed]; ``text/…``."""

    config: ViCLIPConfig

    def setup(self) -> None:
        c = self.config
        self.embedding = ClipEmbed(c.width, c.patch_size, c.grid, c.norm_eps)
        for i in range(c.depth):
            setattr(self, f"block_{i}", Block(c.num_heads, c.mlp_ratio, c.norm_eps, activation=c.activation))
        self.norm = nn.LayerNorm(epsilon=c.norm_eps)
        self.projection = self.param("projection", KERNEL_INIT, (c.width, c.embed_dim))
        self.text = TextTower(c)

    def embed(self, inputs: Inputs, tap: Tap) -> Stream:
        """inputs.video: [batch, time, height, width, 3], or [batch, 1, height, width, 3] for images."""
        frames = 1 if inputs.video.shape[1] == 1 else self.config.num_frames
        check_video(inputs.video, frames, self.config.image_size)
        stream = self.embedding(inputs.video)
        return Stream(tap_tokens(tap, "embed", stream.x, stream.grid), stream.grid)

    def block(self, stream: Stream, index: int, tap: Tap) -> Stream:
        return getattr(self, f"block_{index}")(stream, tap.scope(f"block_{index}"))

    def head(self, stream: Stream, inputs: Inputs, tap: Tap) -> Output:
        x = tap_tokens(tap, "norm", self.norm(stream.x), stream.grid)
        pooled = tap("pooled", x[:, 0, 0] @ self.projection.astype(x.dtype))
        return compare(pooled, text_features(self.text, inputs, tap), LABEL_SCALE)


PAPER = """\
@inproceedings{wang2024internvid,
  title     = {{InternVid}: A Large-scale Video-Text Dataset for Multimodal Understanding and Generation},
  author    = {Wang, Yi and He, Yinan and Li, Yizhuo and Li, Kunchang and Yu, Jiashuo and Ma, Xin and others},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year      = {2024}
}"""
FAMILIES = {"viclip": Family(ViCLIPConfig, ViCLIP, preprocessing, "ViCLIP", (PAPER,), needs=("text",), truncates=True)}
