"""TimeSformer with divided attention, and TCOW, in torch.

The stream is one sequence of a class token and the positions with time fastest, [1, 1 + h * w * t, width]; each
attention rearranges it: over time to [h * w, t, width], over space to [t, 1 + h * w, width], the class token repeated
for every frame.

Bertasius et al. (2021), figures 1-2; Van Hoorick et al. (2023), section 4.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Attention, Mlp, Weights, linear, norm, parameter, patch_embedding, within


class DividedBlock(nn.Module):
    """Attention over time, attention over space, MLP.

    causal: a frame sees itself and earlier ones, and the class token receives the first frame's result rather than the
    mean.
    """

    def __init__(self, weights: Weights, heads: int, eps: float, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.time_norm, self.norm_1, self.norm_2 = (norm(weights, n, eps) for n in ("time_norm", "norm_1", "norm_2"))
        self.time_attention = Attention(within(weights, "time_attn"), heads)
        self.space_attention = Attention(within(weights, "space_attn"), heads)
        self.time_dense = linear(weights, "time_dense")
        self.mlp = Mlp(within(weights, "mlp"), "gelu")

    def forward(self, x: Tensor, frames: int) -> Tensor:
        first, positions = x[:, :1], x[:, 1:]
        positions = positions + self.over_time(positions, frames)
        added_first, added = self.over_space(first, positions, frames)
        x = torch.cat((first, positions), 1) + torch.cat((added_first, added), 1)
        return x + self.mlp(self.norm_2(x))

    def over_time(self, positions: Tensor, frames: int) -> Tensor:
        mask = torch.ones(frames, frames, dtype=torch.bool).tril() if self.causal else None
        x = positions.reshape(-1, frames, positions.shape[-1])
        return self.time_dense(self.time_attention(self.time_norm(x), mask).reshape(positions.shape))

    def over_space(self, first: Tensor, positions: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """What the class token and the positions receive."""
        width = positions.shape[-1]
        x = positions.reshape(-1, frames, width).transpose(0, 1)
        x = torch.cat((first.repeat(1, frames, 1).transpose(0, 1), x), 1)
        x = self.space_attention(self.norm_1(x))
        results = x[:1, :1] if self.causal else x[:, :1].mean(0, keepdim=True)
        return results, x[:, 1:].transpose(0, 1).reshape(1, -1, width)


class Backbone(nn.Module):
    """[1, colour, time, height, width] -> the stream after the last block."""

    def __init__(self, weights: Weights, config: Mapping[str, Any], causal: bool = False) -> None:
        super().__init__()
        embed = within(weights, "token_embed")
        self.patch = patch_embedding(embed, "patch_embed", 2)
        self.class_token = parameter(embed["class_token"])
        self.positions, self.times = parameter(embed["position_table"]), parameter(embed["time_table"])
        self.blocks = nn.ModuleList(
            DividedBlock(within(weights, f"block_{i}"), config["num_heads"], config["norm_eps"], causal)
            for i in range(config["depth"])
        )

    def forward(self, video: Tensor) -> Tensor:
        frames = video.shape[2]
        x = self.patch(video[0].transpose(0, 1)).flatten(2).transpose(1, 2)  # [time, h * w, width]
        x = torch.cat((self.class_token.expand(frames, 1, -1), x), 1) + self.positions
        first, x = x[:1, :1], x[:, 1:].transpose(0, 1) + self.times
        x = torch.cat((first, x.reshape(1, -1, x.shape[-1])), 1)
        for block in self.blocks:
            x = block(x, frames)
        return x


class Classifier(nn.Module):
    """TimeSformer: norm, classes of the class token."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = Backbone(weights, config)
        self.norm = norm(weights, "norm", config["norm_eps"])
        self.head = linear(weights, "head")

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"logits": self.head(self.norm(self.backbone(inputs["video"]))[:, 0])}


class Seeker(nn.Module):
    """TCOW as published: colours normalised, causal attention over time, no final norm, masks and flags."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = Backbone(weights, config, causal=True)
        self.patch, self.stride = config["patch_size"], config["mask_stride"]
        self.rows = config["image_height"] // self.patch
        self.frames = config["num_frames"]
        # A token's results lie (mask, row, column) here, (row, column, mask) in our network.
        by_mask = {"kernel": weights["mask_head/kernel"], "bias": weights["mask_head/bias"]}
        by_mask = {f"masks/{k}": w.unflatten(-1, (-1, 3)).transpose(-1, -2).flatten(-2) for k, w in by_mask.items()}
        self.mask_head, self.flag_head = linear(by_mask, "masks"), linear(weights, "flag_head")

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        video = (inputs["video"] - 0.45) / 0.225
        x = self.backbone(torch.cat((video, inputs["query"]), 1))[0, 1:]
        x = x.reshape(self.rows, -1, self.frames, x.shape[-1]).permute(2, 0, 1, 3)  # [time, h, w, width]
        masks = self.mask_head(x).unflatten(-1, (3, self.patch, self.patch)).permute(0, 3, 1, 4, 2, 5)
        masks = F.avg_pool2d(masks.flatten(4).flatten(2, 3), self.stride)
        masks = F.interpolate(masks, scale_factor=float(self.stride), mode="bilinear", align_corners=True)
        return {"masks": masks.permute(0, 2, 3, 1)[None], "flags": self.flag_head(x).mean((1, 2))[None]}
