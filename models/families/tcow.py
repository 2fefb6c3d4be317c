"""TCOW: follows an object through occlusion and containment, given its mask in the first frame.

A TimeSformer with divided attention reads four channels, colour and the query mask; its frames see only earlier frames,
and its class token takes the first frame's result. A linear layer turns each token into a patch of mask logits, which
are averaged over 4 x 4 pixels and enlarged again; another gives three flags per frame.

    video  [batch, time, height, width, 3] in [0, 1]; the network normalises it itself
    query  [batch, time, height, width], 1 on the object in the frames where it is known, else 0
    masks  [batch, time, height, width, 3], logits of the target, its frontmost occluder, its outermost container

Van Hoorick, Tokmakov, Stent, Li & Vondrick (2023), "Tracking through Containers and Occluders in the Wild", CVPR,
§4 and figure 3; Bertasius et al. (2021) for the backbone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from ..layers import from_patches
from ..linear import KERNEL_INIT
from ..staged import Staged
from ..taps import Tap
from ..types import Family, Inputs, Output, Preprocessing, attention_sites
from .timesformer import ClassToken, DividedBlock, FrameStream, TokenEmbed

MASKS = 3
FLAGS = 3
COLOUR_MEAN, COLOUR_STD = 0.45, 0.225


@dataclass(frozen=True)
class TCOWConfig:
    """Sizes and settings; the defaults are the published network at 30 x 240 x 320.

    causal_attention: -1 and 0: a frame sees all frames; 1 and 2: itself and earlier ones; n > 2: n - 2 later ones too.
                      The class token receives the mean of its results in the frames (0), the first frame's (1) or has
                      no part in the attention (all others).
    norm_embeddings:  whether the backbone ends in a norm.
    normalise_rgb:    whether colours are normalised by the network.
    mask_stride:      pixels along each side over which mask logits are averaged.
    mask_upsampling:  how they are enlarged again: "bilinear" or "nearest".
    flags:            whether there are flags.
    """

    family: str = "tcow"
    image_height: int = 240
    image_width: int = 320
    patch_size: int = 16
    num_frames: int = 30
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    causal_attention: int = 1
    norm_embeddings: bool = False
    normalise_rgb: bool = True
    mask_stride: int = 4
    mask_upsampling: str = "bilinear"
    flags: bool = True

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width."""
        return self.num_frames, self.image_height // self.patch_size, self.image_width // self.patch_size


# Depth of the backbones that the original code builds -> width and heads.
SIZES = {12: (768, 12), 18: (896, 14), 24: (1024, 16)}


def tcow_config(depth: int, **fields: Any) -> TCOWConfig:
    """The network of a depth that the original code builds: 12, 18 or 24."""
    width, heads = SIZES[depth]
    return TCOWConfig(width=width, depth=depth, num_heads=heads, **fields)


def preprocessing(config: TCOWConfig) -> Preprocessing:
    """Colours in [0, 1], every frame."""
    size = config.num_frames, config.image_height, config.image_width
    return Preprocessing(*size, stride=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def attention_settings(causal_attention: int) -> tuple[int | None, ClassToken]:
    """(later frames that a frame sees, None for all; what the class token receives), as in ``DividedBlock``."""
    ahead = None if causal_attention < 1 else max(0, causal_attention - 2)
    return ahead, "mean" if causal_attention == 0 else "first" if causal_attention == 1 else "apart"


class Seeker(Staged):
    """Sites: ``embed``, ``block_i/…`` and ``backbone`` [batch, time, h, w, channel], of which the heads read."""

    config: TCOWConfig

    def setup(self) -> None:
        c = self.config
        ahead, class_token = attention_settings(c.causal_attention)
        self.token_embed = TokenEmbed(c.width, c.patch_size, c.grid)
        for i in range(c.depth):
            setattr(self, f"block_{i}", DividedBlock(c.num_heads, c.mlp_ratio, c.norm_eps, ahead, class_token))
        if c.norm_embeddings:
            self.norm = nn.LayerNorm(epsilon=c.norm_eps)
        self.mask_dense = nn.Dense(MASKS * c.patch_size**2, kernel_init=KERNEL_INIT, name="mask_head")
        if c.flags:
            self.flag_dense = nn.Dense(FLAGS, kernel_init=KERNEL_INIT, name="flag_head")

    def embed(self, inputs: Inputs, tap: Tap) -> FrameStream:
        """Raises ValueError for a clip of another size and for one without a query mask of its size."""
        c, video, query = self.config, inputs.video, inputs.query
        expected = (c.num_frames, c.image_height, c.image_width)
        if video.shape[1:] != (*expected, 3):
            raise ValueError(
                f"video has shape {video.shape}; this model takes [batch, {', '.join(map(str, expected))}, 3]"
            )
        if query is None or query.shape != video.shape[:-1]:
            given = "there is none" if query is None else f"it has shape {query.shape}"
            raise ValueError(f"this model needs a query mask (Inputs.query) of shape {video.shape[:-1]}; {given}")
        if c.normalise_rgb:
            video = (video - COLOUR_MEAN) / COLOUR_STD
        return self.token_embed(jnp.concatenate([video, query[..., None].astype(video.dtype)], -1)).tapped(tap, "embed")

    def block(self, stream: FrameStream, index: int, tap: Tap) -> FrameStream:
        return getattr(self, f"block_{index}")(stream, tap.scope(f"block_{index}"))

    def head(self, stream: FrameStream, inputs: Inputs, tap: Tap) -> Output:
        c, x = self.config, stream.positions
        x = tap("backbone", self.norm(x) if c.norm_embeddings else x)
        masks = from_patches(self.mask_dense(x), 1, c.patch_size)
        flags = self.flag_dense(x).mean((2, 3)) if c.flags else None
        return Output(masks=coarse(masks, c.mask_stride, c.mask_upsampling), flags=flags)


def coarse(masks: jax.Array, stride: int, upsampling: str) -> jax.Array:
    """Means over ``stride`` x ``stride`` pixels, enlarged to the old size.

    masks: [batch, time, height, width, mask].  upsampling: "nearest", or "bilinear" with corners on corners.
    """
    if stride == 1:
        return masks
    b, t, h, w, n = masks.shape
    small = masks.reshape(b, t, h // stride, stride, w // stride, stride, n).mean((3, 5))
    if upsampling == "nearest":
        return small.repeat(stride, 2).repeat(stride, 3)
    rows, columns = (jnp.asarray(corner_weights(size // stride, size), masks.dtype) for size in (h, w))
    return jnp.einsum("Hh,bthwn,Ww->btHWn", rows, small, columns)


def corner_weights(old: int, new: int) -> np.ndarray:
    """[new, old]: linear interpolation of ``old`` values at ``new`` places, first on first and last on last."""
    places = np.linspace(0, old - 1, new)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old)))


PAPER = """\
@inproceedings{vanhoorick2023tcow,
  title     = {Tracking through Containers and Occluders in the Wild},
  author    = {Van Hoorick, Basile and Tokmakov, Pavel and Stent, Simon and Li, Jie and Vondrick, Carl},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year      = {2023}
}"""
FAMILIES = {
    "tcow": Family(
        TCOWConfig,
        Seeker,
        preprocessing,
        "TCOW",
        (PAPER,),
        needs=("query",),
        concept_sites=attention_sites(r"block_\d+/space_attn"),
    )
}
