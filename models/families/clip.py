"""CLIP: an image transformer and a text transformer whose outputs are compared by their cosine.

A frame is a sequence: a class token, then its patches in (height, width) order, with learned positions, normalised
before the first block. Frames do not see each other. The class token, normalised and projected, is the frame's
feature. An image is a clip of one frame; CLIP knows no video, so the feature of a clip is the mean of its frames'
features at length 1.

Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", sections 2.3-2.5, 3.1.2
(sentences as classes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ..language.text import TextTower, VideoTextConfig, compare, text_features, unit
from ..layers import Block, PatchEmbed
from ..linear import KERNEL_INIT
from ..staged import Staged
from ..streams import Grid, Stream, join, tap_tokens
from ..taps import Tap
from ..types import Family, Inputs, Output, Preprocessing

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
LOGIT_SCALE = math.log(1 / 0.07)


@dataclass(frozen=True)
class CLIPConfig(VideoTextConfig):
    """Sizes of the image tower; the defaults are ViT-B/16. num_frames: frames of a clip, 1 for images."""

    family: str = "clip"
    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 1
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
    "B/32": {"patch_size": 32},
    "L/14": {
        "patch_size": 14, "width": 1024, "depth": 24, "num_heads": 16, "embed_dim": 768,
        "text_width": 768, "text_num_heads": 12,
    },
}  # fmt: skip


def config(size: str, **fields: Any) -> CLIPConfig:
    """CLIP of a published size: "B/16", "B/32" or "L/14"."""
    return CLIPConfig(**SIZES[size] | fields)


def preprocessing(config: Any) -> Preprocessing:
    """CLIP's colours."""
    return Preprocessing(config.num_frames, config.image_size, config.image_size, mean=MEAN, std=STD)


def token_grid(config: Any) -> tuple[int, int, int]:
    """Patches along time, height and width, where a frame is a time step."""
    side = config.image_size // config.patch_size
    return config.num_frames, side, side


def check_video(video: jax.Array, frames: int, image_size: int) -> None:
    """Raises ValueError for clips of another size."""
    expected = (frames, image_size, image_size, 3)
    if video.shape[1:] != expected:
        raise ValueError(f"video has shape {video.shape}; this model takes [batch, {', '.join(map(str, expected))}]")


class FrameEmbed(nn.Module):
    """Frames as sequences of a class token and patches, with positions, normalised.

    patch: pixels along a side.  grid: patches along time, height and width.
    """

    width: int
    patch: int
    grid: tuple[int, int, int]
    norm_eps: float

    @nn.compact
    def __call__(self, video: jax.Array) -> Stream:
        """[batch, time, height, width, colour] -> a stream [batch, time, 1 + patch, channel]."""
        _, height, width = self.grid
        patches = PatchEmbed(self.width, 1, self.patch, bias=False, name="patch")(video)
        class_token = self.param("class_token", nn.initializers.normal(0.02), (self.width,)).astype(video.dtype)
        shape = (1 + height * width, self.width)
        positions = self.param("positions", nn.initializers.normal(0.02), shape).astype(video.dtype)
        x = patches + positions[1:].reshape(height, width, self.width)
        batch, time = x.shape[:2]
        first = jnp.broadcast_to(class_token + positions[0], (batch, time, 1, self.width))
        x = nn.LayerNorm(epsilon=self.norm_eps, name="norm", dtype=x.dtype)(join(first, x, time))
        return Stream(x, Grid(time, height, width, special=1))


class CLIP(Staged):
    """Sites: ``embed``, ``block_i/…`` and ``norm``, each with its ``_cls``; ``pooled`` [batch, embed]; ``text/…``."""

    config: CLIPConfig

    def setup(self) -> None:
        c = self.config
        self.embedding = FrameEmbed(c.width, c.patch_size, c.grid, c.norm_eps)
        for i in range(c.depth):
            setattr(self, f"block_{i}", Block(c.num_heads, c.mlp_ratio, c.norm_eps, activation=c.activation))
        self.norm = nn.LayerNorm(epsilon=c.norm_eps)
        self.projection = self.param("projection", KERNEL_INIT, (c.width, c.embed_dim))
        self.text = TextTower(c)
        self.logit_scale = self.param("logit_scale", nn.initializers.constant(LOGIT_SCALE), (1,))

    def embed(self, inputs: Inputs, tap: Tap) -> Stream:
        check_video(inputs.video, self.config.num_frames, self.config.image_size)
        stream = self.embedding(inputs.video)
        return Stream(tap_tokens(tap, "embed", stream.x, stream.grid), stream.grid)

    def block(self, stream: Stream, index: int, tap: Tap) -> Stream:
        return getattr(self, f"block_{index}")(stream, tap.scope(f"block_{index}"))

    def head(self, stream: Stream, inputs: Inputs, tap: Tap) -> Output:
        x = tap_tokens(tap, "norm", self.norm(stream.x), stream.grid)
        frames = unit(x[:, :, 0] @ self.projection.astype(x.dtype))
        return compare(tap("pooled", frames.mean(1)), text_features(self.text, inputs, tap), jnp.exp(self.logit_scale))


PAPER = """\
@inproceedings{radford2021clip,
  title     = {Learning Transferable Visual Models From Natural Language Supervision},
  author    = {Radford, Alec and Kim, Jong Wook and Hallacy, Chris and Ramesh, Aditya and Goh, Gabriel and
               Agarwal, Sandhini and Sastry, Girish and Askell, Amanda and Mishkin, Pamela and Clark, Jack and
               Krueger, Gretchen and Sutskever, Ilya},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2021}
}"""
FAMILIES = {"clip": Family(CLIPConfig, CLIP, preprocessing, "CLIP", (PAPER,), needs=("text",))}
