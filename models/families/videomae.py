"""VideoMAE: a plain video transformer, as a classifier and as a masked autoencoder.

Tokens are space-time patches (2 frames x 16 x 16 pixels) on a grid [time', height', width'], ordered (t, h, w), without
a class token; positions are a fixed sine-cosine table over the flattened index; blocks are pre-norm and joint in space
and time; keys have no bias. The classifier averages the tokens, normalises and projects. The autoencoder encodes the
visible tokens, adds mask tokens and decodes every patch's normalised pixels.

Tong, Song, Wang & Wang (2022), "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video
Pre-Training", NeurIPS, figures 2-4 and tables 2-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ..layers import Block, PatchEmbed, fill_hidden, keep_visible, sine_cosine_table, to_patches, visible_tokens
from ..linear import KERNEL_INIT
from ..staged import Staged
from ..streams import Grid, Stream, tap_tokens
from ..taps import Tap
from ..types import Family, Inputs, Output, Preprocessing, attention_sites


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes that classifier and autoencoder share; the defaults are ViT-B at 16 x 224 x 224.

    layer_scale: whether the blocks scale what they add per channel (no published model does).
    """

    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 16
    tubelet_size: int = 2
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    layer_scale: bool = False

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        side = self.image_size // self.patch_size
        return self.num_frames // self.tubelet_size, side, side


@dataclass(frozen=True)
class VideoMAEConfig(EncoderConfig):
    """Sizes of the classifier; by default with the 174 classes of SSv2."""

    family: str = "videomae-classifier"
    head_norm_eps: float = 1e-6
    num_classes: int = 174


@dataclass(frozen=True)
class VideoMAEPretrainConfig(EncoderConfig):
    """Sizes of the autoencoder.

    decoder_head_norm_eps belongs to the norm before the pixel head; ``encoder_norm`` tells whether the encoder ends in
    one (the original's does, Hugging Face's only without mean pooling).
    """

    family: str = "videomae-pretrain"
    encoder_norm: bool = True
    decoder_width: int = 384
    decoder_depth: int = 4
    decoder_num_heads: int = 6
    decoder_mlp_ratio: float = 4.0
    decoder_norm_eps: float = 1e-6
    decoder_head_norm_eps: float = 1e-6
    mask_ratio: float = 0.9

    @property
    def pixels(self) -> int:
        """Values of a patch."""
        return self.tubelet_size * self.patch_size**2 * 3

    @property
    def visible(self) -> int:
        """Tokens of a time step that a tube mask leaves visible."""
        tokens = self.grid[1] * self.grid[2]
        return tokens - int(self.mask_ratio * tokens)


# Width, depth and heads of the published encoders; decoder width and heads of their autoencoders. "g" is VideoMAE V2's.
SIZES = {
    "S": (384, 12, 6, 192, 3),
    "B": (768, 12, 12, 384, 6),
    "L": (1024, 24, 16, 512, 8),
    "H": (1280, 32, 16, 640, 8),
    "g": (1408, 40, 16, 512, 8),
}
# Of the giant network alone: patches of 14 pixels and 6144 channels in the MLPs, in the decoder's by the same ratio.
GIANT: dict[str, Any] = {"patch_size": 14, "mlp_ratio": 48 / 11}


def classifier_config(size: str, **fields: Any) -> VideoMAEConfig:
    """The classifier of a published size: "S", "B", "L", "H" or "g"."""
    width, depth, heads, _, _ = SIZES[size]
    sizes: dict[str, Any] = {"width": width, "depth": depth, "num_heads": heads}
    return VideoMAEConfig(**sizes | (GIANT if size == "g" else {}) | fields)


def pretrain_config(size: str, **fields: Any) -> VideoMAEPretrainConfig:
    """The autoencoder of a published size: "S", "B", "L", "H" or "g"."""
    width, depth, heads, decoder_width, decoder_heads = SIZES[size]
    sizes: dict[str, Any] = {"width": width, "depth": depth, "num_heads": heads}
    giant = GIANT | {"decoder_mlp_ratio": GIANT["mlp_ratio"]} if size == "g" else {}
    decoder: dict[str, Any] = {"decoder_width": decoder_width, "decoder_num_heads": decoder_heads}
    return VideoMAEPretrainConfig(**sizes | decoder | giant | fields)


def preprocessing(config: EncoderConfig) -> Preprocessing:
    """ImageNet colours, every second frame (the SSv2 setting)."""
    return Preprocessing(config.num_frames, config.image_size, config.image_size)


class Blocks(Staged):
    """Patches and blocks, without a head. Sites: ``embed``, ``block_i/…``."""

    config: EncoderConfig

    def setup(self) -> None:
        c = self.config
        self.patch_embed = PatchEmbed(c.width, c.tubelet_size, c.patch_size)
        for i in range(c.depth):
            block = Block(c.num_heads, c.mlp_ratio, c.norm_eps, key_bias=False, layer_scale=c.layer_scale)
            setattr(self, f"block_{i}", block)

    def embed(self, inputs: Inputs, tap: Tap) -> Stream:
        return first_stream(embed_patches(self.patch_embed, self.config, inputs), tap)

    def block(self, stream: Stream, index: int, tap: Tap) -> Stream:
        return getattr(self, f"block_{index}")(stream, tap.scope(f"block_{index}"))


class Classifier(Blocks):
    """Sites: ``embed``, ``block_i/…``, ``pooled`` and ``norm`` [batch, channel]."""

    config: VideoMAEConfig

    def setup(self) -> None:
        super().setup()
        self.head_norm = nn.LayerNorm(epsilon=self.config.head_norm_eps)
        self.head_dense = nn.Dense(self.config.num_classes, kernel_init=KERNEL_INIT, name="head")

    def head(self, stream: Stream, inputs: Inputs, tap: Tap) -> Output:
        pooled = tap("pooled", stream.x.mean((1, 2)))
        return Output(logits=self.head_dense(tap("norm", self.head_norm(pooled))))


class Encoder(nn.Module):
    """The autoencoder's encoder, on all tokens or on the visible ones."""

    config: VideoMAEPretrainConfig

    def setup(self) -> None:
        c = self.config
        self.patch_embed = PatchEmbed(c.width, c.tubelet_size, c.patch_size)
        for i in range(c.depth):
            block = Block(c.num_heads, c.mlp_ratio, c.norm_eps, key_bias=False, layer_scale=c.layer_scale)
            setattr(self, f"block_{i}", block)
        if c.encoder_norm:
            self.norm = nn.LayerNorm(epsilon=c.norm_eps)

    def embed(self, inputs: Inputs, tap: Tap) -> Stream:
        x = embed_patches(self.patch_embed, self.config, inputs)
        if inputs.token_mask is not None:
            x = keep_visible(x, inputs.token_mask, visible_tokens(inputs.token_mask, self.config.visible))
        return first_stream(x, tap)

    def block(self, stream: Stream, index: int, tap: Tap) -> Stream:
        return getattr(self, f"block_{index}")(stream, tap.scope(f"block_{index}"))

    def finish(self, stream: Stream, tap: Tap) -> Stream:
        if not self.config.encoder_norm:
            return stream
        return Stream(tap_tokens(tap, "norm", self.norm(stream.x), stream.grid), stream.grid)


class Decoder(nn.Module):
    """The autoencoder's decoder, on the whole token grid."""

    config: VideoMAEPretrainConfig

    def setup(self) -> None:
        c = self.config
        for i in range(c.decoder_depth):
            heads, eps = c.decoder_num_heads, c.decoder_norm_eps
            block = Block(heads, c.decoder_mlp_ratio, eps, key_bias=False, layer_scale=c.layer_scale)
            setattr(self, f"block_{i}", block)
        self.norm = nn.LayerNorm(epsilon=c.decoder_head_norm_eps)
        self.head = nn.Dense(c.pixels, kernel_init=KERNEL_INIT)

    def __call__(self, stream: Stream, tap: Tap) -> jax.Array:
        """[batch, time', height', width', pixel]."""
        for i in range(self.config.decoder_depth):
            stream = getattr(self, f"block_{i}")(stream, tap.scope(f"block_{i}"))
        normed = tap_tokens(tap, "norm", self.norm(stream.x), stream.grid)
        return Stream(self.head(normed), stream.grid).positions


class Autoencoder(Staged):
    """Sites: ``encoder/embed``, ``encoder/block_i/…``, ``encoder/norm``, ``decoder/embed``, ``decoder/block_i/…``.

    With ``inputs.token_mask`` (a tube mask: the same tokens hidden at every time step) the encoder's sites hold
    [batch, time', 1, visible tokens of a step, …]; the decoder works on the whole grid. Without one nothing is hidden.
    """

    config: VideoMAEPretrainConfig

    def setup(self) -> None:
        c = self.config
        self.encoder = Encoder(c)
        self.encoder_to_decoder = nn.Dense(c.decoder_width, use_bias=False, kernel_init=KERNEL_INIT)
        self.mask_token = self.param("mask_token", nn.initializers.normal(0.02), (c.decoder_width,))
        self.decoder = Decoder(c)

    def embed(self, inputs: Inputs, tap: Tap) -> Stream:
        return self.encoder.embed(inputs, tap.scope("encoder"))

    def block(self, stream: Stream, index: int, tap: Tap) -> Stream:
        return self.encoder.block(stream, index, tap.scope("encoder"))

    def block_names(self, index: int) -> tuple[str, ...]:
        return (f"encoder/block_{index}",)

    def head(self, stream: Stream, inputs: Inputs, tap: Tap) -> Output:
        c, token_mask = self.config, inputs.token_mask
        stream = self.encoder.finish(stream, tap.scope("encoder"))
        x = Stream(self.encoder_to_decoder(stream.x), stream.grid).positions
        if token_mask is not None:
            x = fill_hidden(x, self.mask_token.astype(x.dtype), token_mask)
        tap = tap.scope("decoder")
        return Output(patches=self.decoder(first_stream(x + _positions(c, c.decoder_width, x.dtype), tap), tap))


def embed_patches(patch_embed: PatchEmbed, c: EncoderConfig, inputs: Inputs) -> jax.Array:
    expected = (c.num_frames, c.image_size, c.image_size, 3)
    if inputs.video.shape[1:] != expected:
        raise ValueError(
            f"video has shape {inputs.video.shape}; this model takes [batch, {', '.join(map(str, expected))}]"
        )
    return patch_embed(inputs.video) + _positions(c, c.width, inputs.video.dtype)


def _positions(c: EncoderConfig, width: int, dtype: jnp.dtype) -> jax.Array:
    """[1, time', height', width', channel]."""
    return jnp.asarray(sine_cosine_table(int(np.prod(c.grid)), width).reshape(1, *c.grid, width), dtype)


def first_stream(x: jax.Array, tap: Tap) -> Stream:
    """[batch, time', height', width', channel] as one sequence, tapped as ``embed``."""
    grid = Grid(*x.shape[1:4])
    return Stream(tap_tokens(tap, "embed", x.reshape(len(x), 1, -1, x.shape[-1]), grid), grid)


def reconstruction_target(video: jax.Array | np.ndarray, config: VideoMAEPretrainConfig) -> jax.Array:
    """What the autoencoder predicts: pixels normalised per patch and colour.

    video: [batch, time, height, width, 3] in [0, 1]. Returns [batch, t, h, w, pixel]: minus the patch's mean, divided
    by its (unbiased standard deviation + 1e-6), colour fastest.
    """
    patches = to_patches(jnp.asarray(video), config.tubelet_size, config.patch_size)
    patches = patches.reshape(*patches.shape[:-1], -1, 3)
    mean = patches.mean(-2, keepdims=True)
    std = patches.std(-2, ddof=1, keepdims=True) + 1e-6
    return ((patches - mean) / std).reshape(*patches.shape[:-2], -1)


PAPER = """\
@inproceedings{tong2022videomae,
  title     = {{VideoMAE}: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video
               Pre-Training},
  author    = {Tong, Zhan and Song, Yibing and Wang, Jue and Wang, Limin},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  volume    = {35},
  year      = {2022}
}"""
FAMILIES = {
    "videomae-classifier": Family(VideoMAEConfig, Classifier, preprocessing, "VideoMAE classifier", (PAPER,)),
    "videomae-pretrain": Family(
        VideoMAEPretrainConfig,
        Autoencoder,
        preprocessing,
        "VideoMAE autoencoder",
        (PAPER,),
        target=reconstruction_target,
        concept_sites=attention_sites(r"encoder/block_\d+/attn"),
    ),
}
