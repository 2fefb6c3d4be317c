"""VideoMAE in torch: the classifier, and the autoencoder with nothing hidden.

Tong et al. (2022), VideoMAE, figure 2.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Weights, blocks, linear, norm, patch_embedding, within


class Encoder(nn.Module):
    """Patches, positions, blocks: [1, colour, time, height, width] -> [1, token, width]."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.patch = patch_embedding(weights, "patch_embed", 3)
        self.register_buffer("positions", positions(config, config["width"]))
        self.blocks = blocks(weights, config["depth"], config["num_heads"], config["norm_eps"])

    def forward(self, video: Tensor) -> Tensor:
        x = self.patch(video).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return x


class Classifier(nn.Module):
    """Mean over the tokens, norm, classes."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(weights, config)
        self.norm = norm(weights, "head_norm", config["head_norm_eps"])
        self.head = linear(weights, "head")

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": self.head(self.norm(self.encoder(inputs["video"]).mean(1)))}


class Autoencoder(nn.Module):
    """Encoder with its norm, decoder on all tokens, pixels of each patch."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        decoder = within(weights, "decoder")
        self.grid = grid(config)
        self.encoder = Encoder(within(weights, "encoder"), config)
        self.encoder_norm = norm(weights, "encoder/norm", config["norm_eps"])
        self.encoder_to_decoder = linear(weights, "encoder_to_decoder")
        self.register_buffer("positions", positions(config, config["decoder_width"]))
        self.blocks = blocks(decoder, config["decoder_depth"], config["decoder_num_heads"], config["decoder_norm_eps"])
        self.norm = norm(decoder, "norm", config["decoder_head_norm_eps"])
        self.head = linear(decoder, "head")

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = self.encoder_to_decoder(self.encoder_norm(self.encoder(inputs["video"]))) + self.positions
        for block in self.blocks:
            x = block(x)
        return {"patches": self.head(self.norm(x)).unflatten(1, self.grid)}


def grid(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Tokens along time, height and width."""
    side = config["image_size"] // config["patch_size"]
    return config["num_frames"] // config["tubelet_size"], side, side


def positions(config: Mapping[str, Any], width: int) -> Tensor:
    """[token, width]: sine and cosine of the flattened token index, in float64 and rounded once."""
    frames, rows, columns = grid(config)
    index = torch.arange(frames * rows * columns, dtype=torch.float64)
    channel = torch.arange(width)
    angle = index[:, None] / 10000 ** (2 * (channel // 2).double() / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()
