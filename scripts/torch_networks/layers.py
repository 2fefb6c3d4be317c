"""Building blocks that the torch networks share, made from our parameters.

weights    our parameters by their names below a module, e.g. ``fc_1/kernel`` [in, out]
x          [sequence, token, width]; attention is within a sequence
mask       bool [query token, key token], True = seen
"""

# pyright: reportMissingImports=false
# (torch is an extra, which the type checker may have to do without)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Weights = Mapping[str, Tensor]


def within(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """The weights below ``prefix/``, by the rest of their names."""
    return {name[len(prefix) + 1 :]: w for name, w in weights.items() if name.startswith(prefix + "/")}


def parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.contiguous(), requires_grad=False)


def linear(weights: Weights, *names: str) -> nn.Linear:
    """One product that gives the results of the layers ``names`` one after the other.

    A layer without a bias gets zeros where another has one.
    """
    kernels = [weights[f"{name}/kernel"].T for name in names]
    biased = any(f"{name}/bias" in weights for name in names)
    layer = nn.Linear(kernels[0].shape[1], sum(map(len, kernels)), bias=biased, device="meta")
    layer.weight = parameter(torch.cat(kernels))
    if biased:
        blank = [torch.zeros(len(kernel)) for kernel in kernels]
        layer.bias = parameter(torch.cat([weights.get(f"{n}/bias", b) for n, b in zip(names, blank, strict=True)]))
    return layer


def norm(weights: Weights, name: str, eps: float) -> nn.LayerNorm:
    scale = weights[f"{name}/scale"]
    layer = nn.LayerNorm(scale.shape[0], eps)
    layer.weight, layer.bias = parameter(scale), parameter(weights[f"{name}/bias"])
    return layer


def patch_embedding(weights: Weights, name: str, dimensions: int) -> nn.Conv2d | nn.Conv3d:
    """A convolution whose stride is its kernel.

    dimensions: 3 over (time, height, width), or 2 over single frames, [frame, colour, height, width].
    """
    kernel = weights[f"{name}/kernel"].permute(4, 3, 0, 1, 2)  # [width, colour, frame, row, column]
    bias = weights.get(f"{name}/bias")
    kernel, kind = (kernel, nn.Conv3d) if dimensions == 3 else (kernel[:, :, 0], nn.Conv2d)
    size = tuple(kernel.shape[2:])
    layer = kind(kernel.shape[1], kernel.shape[0], size, stride=size, bias=bias is not None)  # type: ignore[arg-type]
    layer.weight = parameter(kernel)
    if bias is not None:
        layer.bias = parameter(bias)
    return layer


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """[sequence, head, token, channel] each -> [sequence, query token, head * channel]."""
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if mask is not None:
        logits = logits.masked_fill(~mask, -1e10)
    return (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)


def split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[sequence, token, part * head * channel] -> for each part [sequence, head, token, channel]."""
    return x.reshape(*x.shape[:2], parts, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


class Attention(nn.Module):
    """One product for queries, keys and values."""

    def __init__(self, weights: Weights, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(weights, "query", "key", "value")
        self.out = linear(weights, "out")

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.out(attend(*split_heads(self.qkv(x), 3, self.heads), mask=mask))


class Mlp(nn.Module):
    """activation: "gelu" (exact) or "quick_gelu"."""

    def __init__(self, weights: Weights, activation: str) -> None:
        super().__init__()
        self.fc_1, self.fc_2 = linear(weights, "fc_1"), linear(weights, "fc_2")
        self.activate = F.gelu if activation == "gelu" else quick_gelu

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_2(self.activate(self.fc_1(x)))


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, weights: Weights, heads: int, eps: float, activation: str = "gelu") -> None:
        super().__init__()
        self.norm_1, self.norm_2 = norm(weights, "norm_1", eps), norm(weights, "norm_2", eps)
        self.attention = Attention(within(weights, "attn"), heads)
        self.mlp = Mlp(within(weights, "mlp"), activation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm_1(x), mask)
        return x + self.mlp(self.norm_2(x))


def blocks(weights: Weights, depth: int, *settings: Any) -> nn.ModuleList:
    """The blocks ``block_0`` … of a network; settings: what ``Block`` takes after its weights."""
    return nn.ModuleList(Block(within(weights, f"block_{i}"), *settings) for i in range(depth))
