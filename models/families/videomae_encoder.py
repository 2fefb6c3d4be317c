"""VideoMAE's encoder alone, without a head: a clip's features, the mean of its tokens.

Published so are Hugging Face's ``VideoMAEModel`` and encoders of the original code without decoder or classifier. Their
last norm stands before the mean, on every token, or after it, or is left out.

Tong, Song, Wang & Wang (2022), "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video
Pre-Training", NeurIPS, figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flax import linen as nn

from ..streams import Stream, tap_tokens
from ..taps import Tap
from ..types import Family, Inputs, Output
from .videomae import PAPER, Blocks, EncoderConfig, preprocessing


@dataclass(frozen=True)
class VideoMAEEncoderConfig(EncoderConfig):
    """Sizes of the encoder.

    last_norm: what the last norm is applied to: "tokens", their mean ("pooled"), or nothing ("nowhere").
    """

    family: str = "videomae-encoder"
    last_norm: Literal["tokens", "pooled", "nowhere"] = "tokens"
    last_norm_eps: float = 1e-6


class Encoder(Blocks):
    """Sites: ``embed``, ``block_i/…``, ``norm`` (of the tokens, or of their mean) and ``pooled`` [batch, channel]."""

    config: VideoMAEEncoderConfig

    def setup(self) -> None:
        super().setup()
        if self.config.last_norm != "nowhere":
            self.norm = nn.LayerNorm(epsilon=self.config.last_norm_eps)

    def head(self, stream: Stream, inputs: Inputs, tap: Tap) -> Output:
        place, x = self.config.last_norm, stream.x
        if place == "tokens":
            x = tap_tokens(tap, "norm", self.norm(x), stream.grid)
        pooled = tap("pooled", x.mean((1, 2)))
        return Output(video_features=tap("norm", self.norm(pooled)) if place == "pooled" else pooled)


FAMILIES = {
    "videomae-encoder": Family(VideoMAEEncoderConfig, Encoder, preprocessing, "VideoMAE encoder", (PAPER,)),
}
