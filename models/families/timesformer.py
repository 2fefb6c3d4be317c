"""TimeSformer: a video transformer that attends over time and over space in turn.

Every frame is cut into patches, which get a learned table of positions and one of times; one class token gets a
position but no time. A divided block first lets each position attend over the frames (``time_attn``, followed by one
more linear layer), then each frame over its positions and the class token (``space_attn``), which so gets a result per
frame, of which it takes the mean. Joint blocks attend over the whole clip, space-only blocks over single frames.

    positions    [batch, time, h * w, channel] inside a divided block, [batch, time, h, w, channel] at its sites
    class token  [batch, 1, 1, channel], at sites that end in ``_cls``

Bertasius, Wang & Torresani (2021), "Is Space-Time Attention All You Need for Video Understanding?", ICML, §3,
figures 1-2 and equations 1-13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from ..attention import Attention, causal_mask
from ..layers import Block, Mlp, PatchEmbed
from ..linear import KERNEL_INIT, Linear
from ..staged import Staged
from ..streams import Grid, Stream, join, tap_tokens
from ..taps import Tap
from ..types import Family, Inputs, Output, Preprocessing, attention_sites


@dataclass(frozen=True)
class TimeSformerConfig:
    """Sizes of the classifier; the defaults are the published 8 x 224 x 224 model for Kinetics-400.

    attention: "divided" (over time, then over space), "joint" (over the clip) or "space" (over single frames; there
               is no table of times then).
    """

    family: str = "timesformer"
    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 8
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    num_classes: int = 400
    attention: str = "divided"

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        side = self.image_size // self.patch_size
        return self.num_frames, side, side


# Frames and image size of the published models, all of ViT-B's width and depth (table 5 of the paper).
SIZES = {"B": (8, 224), "HR": (16, 448), "L": (96, 224)}


def classifier_config(size: str, **fields: Any) -> TimeSformerConfig:
    """The classifier of a published size: "B", "HR" or "L"."""
    num_frames, image_size = SIZES[size]
    return TimeSformerConfig(num_frames=num_frames, image_size=image_size, **fields)


def preprocessing(config: TimeSformerConfig) -> Preprocessing:
    """Grey mean and spread, and every 32nd frame (the Kinetics setting of the 8-frame model)."""
    size = config.image_size
    return Preprocessing(config.num_frames, size, size, stride=32, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225))


@struct.dataclass
class FrameStream:
    """What goes from divided block to divided block.

    x: [batch, time, position, channel], the positions of each frame.  cls: [batch, 1, 1, channel], the class token.
    """

    x: jax.Array
    cls: jax.Array
    grid: Grid = struct.field(pytree_node=False)

    @property
    def positions(self) -> jax.Array:
        """[batch, time, height, width, channel]."""
        return self.x.reshape(len(self.x), *self.grid[:3], -1)

    def tapped(self, tap: Tap, site: str) -> FrameStream:
        """The stream after its positions were offered as ``site`` and its class token as ``site_cls``."""
        return FrameStream(tap_tokens(tap, site, self.x, self.grid), tap(f"{site}_cls", self.cls), self.grid)


class TokenEmbed(nn.Module):
    """Patches of single frames and a class token, with learned tables.

    grid: tokens along time, height and width.  times: whether there is a table of times.
    """

    width: int
    patch: int
    grid: tuple[int, int, int]
    times: bool = True

    @nn.compact
    def __call__(self, video: jax.Array) -> FrameStream:
        """video: [batch, time, height, width, colour]."""
        frames, height, breadth = self.grid
        init, dtype = nn.initializers.truncated_normal(0.02), video.dtype
        x = PatchEmbed(self.width, 1, self.patch, name="patch_embed")(video)
        x = x.reshape(len(x), frames, height * breadth, self.width)
        cls = self.param("class_token", init, (self.width,)).astype(dtype)
        table = self.param("position_table", init, (1 + height * breadth, self.width)).astype(dtype)
        x = x + table[1:]
        if self.times:
            time_table = self.param("time_table", nn.initializers.zeros, (frames, self.width)).astype(dtype)
            x = x + time_table[:, None]
        cls = jnp.broadcast_to(cls + table[0], (len(x), 1, 1, self.width))
        return FrameStream(x, cls, Grid(frames, height, breadth))


ClassToken = Literal["mean", "first", "apart"]


class DividedBlock(nn.Module):
    """Attention over time, attention over space, MLP.

    Sites ``resid_pre``, ``time_attn/…``, ``space_attn/…``, ``resid_mid``, ``mlp/out``, ``resid_post``; the ``out`` of
    each attention is what the stream receives, that of time after its extra linear layer.

    ahead:       how many later frames a frame sees in ``time_attn``; None: all.
    class_token: what the class token receives of its results in the frames, their "mean" or the "first" frame's;
                 "apart": it has no part in the attention.
    """

    heads: int
    mlp_ratio: float
    norm_eps: float
    ahead: int | None = None
    class_token: ClassToken = "mean"

    @nn.compact
    def __call__(self, stream: FrameStream, tap: Tap) -> FrameStream:
        stream = stream.tapped(tap, "resid_pre")
        x = stream.x + tap_tokens(tap, "time_attn/out", self.over_time(stream, tap), stream.grid)
        added = self.over_space(FrameStream(x, stream.cls, stream.grid), tap)
        stream = FrameStream(x + added.x, stream.cls + added.cls, stream.grid).tapped(tap, "resid_mid")
        norm = nn.LayerNorm(epsilon=self.norm_eps, name="norm_2", dtype=x.dtype)
        mlp = Mlp(int(x.shape[-1] * self.mlp_ratio), name="mlp")
        added = FrameStream(mlp(norm(stream.x)), mlp(norm(stream.cls)), stream.grid).tapped(tap, "mlp/out")
        return FrameStream(stream.x + added.x, stream.cls + added.cls, stream.grid).tapped(tap, "resid_post")

    def over_time(self, stream: FrameStream, tap: Tap) -> jax.Array:
        """What the positions receive: [batch, time, position, channel]."""
        x, grid = stream.x, stream.grid
        mask = None if self.ahead is None else causal_mask(grid.time, self.ahead)
        normed = nn.LayerNorm(epsilon=self.norm_eps, name="time_norm", dtype=x.dtype)(x)
        mixed = Attention(self.heads, over="time", name="time_attn")(normed, grid, tap.scope("time_attn"), mask)
        # Zero at first: a network that knows single frames starts as it is.
        return Linear(x.shape[-1], kernel_init=nn.initializers.zeros, name="time_dense")(mixed)

    def over_space(self, stream: FrameStream, tap: Tap) -> FrameStream:
        """What positions and class token receive."""
        x, cls, grid = stream.x, stream.cls, stream.grid
        norm = nn.LayerNorm(epsilon=self.norm_eps, name="norm_1", dtype=x.dtype)
        attention, scope = Attention(self.heads, name="space_attn"), tap.scope("space_attn")
        if self.class_token == "apart":
            out = tap_tokens(scope, "out", attention(norm(x), grid, scope), grid)
            return FrameStream(out, jnp.zeros_like(cls), grid)
        normed = jnp.concatenate([jnp.broadcast_to(norm(cls), (*x.shape[:2], 1, x.shape[-1])), norm(x)], axis=2)
        out = attention(normed, grid._replace(special=1), scope)
        results = out[:, :, :1]  # the class token's, a frame each
        results = results[:, :1] if self.class_token == "first" else results.mean(1, keepdims=True)
        return FrameStream(out[:, :, 1:], results, grid).tapped(scope, "out")


class Classifier(Staged):
    """Sites: ``embed``, ``block_i/…``, ``pooled`` (the class token) and ``norm`` [batch, channel]."""

    config: TimeSformerConfig

    def setup(self) -> None:
        c = self.config
        if c.attention not in ("divided", "joint", "space"):
            raise ValueError(f"attention is {c.attention!r}; known: divided, joint, space")
        self.token_embed = TokenEmbed(c.width, c.patch_size, c.grid, times=c.attention != "space")
        kind = DividedBlock if c.attention == "divided" else Block
        for i in range(c.depth):
            setattr(self, f"block_{i}", kind(c.num_heads, c.mlp_ratio, c.norm_eps))
        self.norm = nn.LayerNorm(epsilon=c.norm_eps)
        self.head_dense = nn.Dense(c.num_classes, kernel_init=KERNEL_INIT, name="head")

    def embed(self, inputs: Inputs, tap: Tap) -> FrameStream | Stream:
        c = self.config
        expected = (c.num_frames, c.image_size, c.image_size, 3)
        if inputs.video.shape[1:] != expected:
            raise ValueError(
                f"video has shape {inputs.video.shape}; this model takes [batch, {', '.join(map(str, expected))}]"
            )
        stream = self.token_embed(inputs.video)
        if c.attention == "divided":
            return stream.tapped(tap, "embed")
        sequences = c.num_frames if c.attention == "space" else 1
        cls = jnp.broadcast_to(stream.cls, (len(stream.x), sequences, 1, c.width))
        grid = stream.grid._replace(special=1)
        return Stream(tap_tokens(tap, "embed", join(cls, stream.positions, sequences), grid), grid)

    def block(self, stream: FrameStream | Stream, index: int, tap: Tap) -> FrameStream | Stream:
        return getattr(self, f"block_{index}")(stream, tap.scope(f"block_{index}"))

    def head(self, stream: FrameStream | Stream, inputs: Inputs, tap: Tap) -> Output:
        """Space-only streams have a class token per frame, of which the mean counts."""
        cls = stream.cls if isinstance(stream, FrameStream) else stream.special
        pooled = tap("pooled", cls.mean((1, 2)))
        return Output(logits=self.head_dense(tap("norm", self.norm(pooled))))


PAPER = """\
@inproceedings{bertasius2021timesformer,
  title     = {Is Space-Time Attention All You Need for Video Understanding?},
  author    = {Bertasius, Gedas and Wang, Heng and Torresani, Lorenzo},
  booktitle = {International Conference on Machine Learning (ICML)},
  year      = {2021}
}"""
FAMILIES = {
    "timesformer": Family(
        TimeSformerConfig,
        Classifier,
        preprocessing,
        "TimeSformer",
        (PAPER,),
        concept_sites=attention_sites(r"block_\d+/(space_)?attn"),
    )
}
