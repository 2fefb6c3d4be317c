"""CLIP, ViCLIP and InternVideo's network in torch: the video towers with given text features, and the text tower.

Radford et al. (2021), sections 2.3-2.5; Wang et al. (2024), InternVid, section 4; Wang et al. (2022), InternVideo;
Li et al. (2022), UniFormerV2, section 3.3.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Mlp, Weights, attend, blocks, linear, norm, parameter, patch_embedding, split_heads, within

LABEL_SCALE = 100.0


def tower_blocks(weights: Weights, config: Mapping[str, Any], prefix: str = "") -> nn.ModuleList:
    """prefix: what the fields of the config begin with, "text_" for the text tower."""
    sizes = config[f"{prefix}depth"], config[f"{prefix}num_heads"]
    return blocks(weights, *sizes, config["norm_eps"], config["activation"])


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def compare(video: Tensor, text: Tensor, scale: Tensor | float) -> dict[str, Tensor]:
    return {"logits": scale * unit(video) @ unit(text).T, "video_features": video}


class FrameTokens(nn.Module):
    """[1, colour, time, height, width] -> [time, 1 + patch, width], with positions."""

    def __init__(self, weights: Weights, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.patch = patch_embedding(weights, "patch", dimensions)
        self.class_token, self.positions = parameter(weights["class_token"]), parameter(weights["positions"])

    def forward(self, video: Tensor) -> Tensor:
        frames = self.patch(video)[0] if self.dimensions == 3 else self.patch(video[0].transpose(0, 1)).transpose(0, 1)
        x = frames.flatten(2).permute(1, 2, 0)  # from [width, time, h, w]
        return torch.cat((self.class_token.expand(len(x), 1, -1), x), 1) + self.positions


class CLIP(nn.Module):
    """The image tower; the feature of a clip is the mean of its frames' at length 1."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.tokens = FrameTokens(within(weights, "embedding"), 2)
        self.norm_pre = norm(weights, "embedding/norm", config["norm_eps"])
        self.blocks = tower_blocks(weights, config)
        self.norm = norm(weights, "norm", config["norm_eps"])
        self.projection, self.scale = parameter(weights["projection"]), weights["logit_scale"].exp()

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = self.norm_pre(self.tokens(inputs["video"]))
        for block in self.blocks:
            x = block(x)
        frames = unit(self.norm(x[:, 0]) @ self.projection)
        return compare(frames.mean(0, keepdim=True), inputs["text_features"], self.scale)


class ViCLIP(nn.Module):
    """All patches of all frames in one sequence, time fastest, after one class token."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.tokens = FrameTokens(within(weights, "embedding"), 3)
        self.times = parameter(weights["embedding/times"])
        self.norm_pre = norm(weights, "embedding/norm", config["norm_eps"])
        self.blocks = tower_blocks(weights, config)
        self.norm = norm(weights, "norm", config["norm_eps"])
        self.projection = parameter(weights["projection"])

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = self.tokens(inputs["video"])
        first, x = x[:1, :1], x[:, 1:].transpose(0, 1) + self.times  # [h * w, time, width]
        x = self.norm_pre(torch.cat((first, x.reshape(1, -1, x.shape[-1])), 1))
        for block in self.blocks:
            x = block(x)
        return compare(self.norm(x)[:, 0] @ self.projection, inputs["text_features"], LABEL_SCALE)


class Extractor(nn.Module):
    """A video's class token attends to all tokens of its frames, patches shifted by a depth-wise convolution."""

    def __init__(self, weights: Weights, heads: int, eps: float, activation: str) -> None:
        super().__init__()
        kernel = weights["surround/kernel"].permute(3, 0, 1, 2)[:, None]
        self.surround = nn.Conv3d(len(kernel), len(kernel), 3, padding=1, groups=len(kernel))
        self.surround.weight, self.surround.bias = parameter(kernel), parameter(weights["surround/bias"])
        self.norm_1, self.norm_2, self.norm_memory = (norm(weights, f"norm_{n}", eps) for n in (1, 2, "memory"))
        self.heads = heads
        attention = within(weights, "attn")
        self.query, self.key_value = linear(attention, "query"), linear(attention, "key", "value")
        self.out = linear(attention, "out")
        self.mlp = Mlp(within(weights, "mlp"), activation)

    def forward(self, token: Tensor, frames: Tensor) -> Tensor:
        """token [part, 1, width], frames [part, time, 1 + patch, width] -> the shape of token."""
        memory = self.norm_memory(self.surrounded(frames).flatten(1, 2))
        (query,) = split_heads(self.query(self.norm_1(token)), 1, self.heads)
        token = token + self.out(attend(query, *split_heads(self.key_value(memory), 2, self.heads)))
        return token + self.mlp(self.norm_2(token))

    def surrounded(self, frames: Tensor) -> Tensor:
        parts, time, tokens, width = frames.shape
        side = round((tokens - 1) ** 0.5)
        grid = frames[:, :, 1:].permute(0, 3, 1, 2).reshape(parts, width, time, side, side)
        added = self.surround(grid).reshape(parts, width, time, -1).permute(0, 2, 3, 1)
        return torch.cat((frames[:, :, :1], frames[:, :, 1:] + added), 2)


class InternVideo(nn.Module):
    """CLIP frame by frame, and extractors after some of its blocks; ``pseudo_clips`` parts, each a video."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        eps, settings = config["norm_eps"], (config["num_heads"], config["norm_eps"], config["activation"])
        self.parts, self.extractor_blocks = config["pseudo_clips"], config["extractor_blocks"]
        self.tokens = FrameTokens(within(weights, "embedding"), 3)
        self.norm_pre = norm(weights, "embedding/norm", eps)
        self.blocks = tower_blocks(weights, config)
        numbers = range(1, 1 + len(self.extractor_blocks))
        self.extractors = nn.ModuleList(Extractor(within(weights, f"extractor_{j}"), *settings) for j in numbers)
        self.video_token, self.balance = parameter(weights["video_token"]), parameter(weights["balance"])
        self.norm = norm(weights, "norm", eps)
        self.projection, self.scale = parameter(weights["projection"]), weights["logit_scale"].exp()

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        x = self.norm_pre(self.tokens(inputs["video"]))
        token = self.video_token.repeat(self.parts, 1, 1)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.extractor_blocks:
                extractor = self.extractors[self.extractor_blocks.index(index)]
                token = extractor(token, x.unflatten(0, (self.parts, -1)))
        share = self.balance.sigmoid()
        video = (1 - share) * token[:, 0] + share * x[:, 0].unflatten(0, (self.parts, -1)).mean(1)
        return compare(self.norm(video) @ self.projection, inputs["text_features"], self.scale)


class TextTower(nn.Module):
    """Sentences to features, read at the end token."""

    def __init__(self, weights: Weights, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.tokens, self.positions = parameter(weights["tokens"]), parameter(weights["positions"])
        self.end_token = config["end_token"]
        self.blocks = tower_blocks(weights, config, "text_")
        self.norm = norm(weights, "norm", config["norm_eps"])
        self.projection = parameter(weights["projection"])

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        ids = inputs["text"].long()
        x = self.tokens[ids] + self.positions[: ids.shape[1]]
        mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
        for block in self.blocks:
            x = block(x, mask)
        end = (ids == self.end_token).int().argmax(1)
        return {"text_features": self.norm(x)[torch.arange(len(x)), end] @ self.projection}
