"""VideoMAE in plain torch, run the way VTCD's released code runs it: the yardstick of ``bench.py forward``.

    python scripts/bench_torch.py FOLDER THREADS

FOLDER holds ``network.safetensors``: our parameters by their names, ``video`` [time, height, width, 3] normalised,
``gates`` [mask, concept], and per block ``ids/i`` int32 [token, head], the concept of each token or -1. Its metadata
holds the config. The process says "ready", then answers each line of its input with one line of JSON: to "START STOP"
(masks) {"seconds": of these passes together, "logits": [mask, class]}, to "rate SIZE" {"rate": operations per second of
a square float32 matrix product}.

As in the released code: batch 1, no gradients, queries, keys and values from one product, attention spelled out over
whole [head, token, token] arrays, and a forward hook on that product's output that multiplies the keys of each removed
concept's head by its mask, one concept after the other. What the released code does between two passes (drawing
concepts, reloading the hooks) is left out of the time.

Tong et al. (2022), VideoMAE, figure 2; Kowal et al. (2024), VTCD, section 3.3.
"""

# pyright: reportMissingImports=false
# (torch is an extra, which the type checker may have to do without)

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn


class Attention(nn.Module):
    """One product for queries, keys and values; a bias for queries and values only."""

    def __init__(self, weights: Mapping[str, Tensor], heads: int) -> None:
        super().__init__()
        kernels = [weights[f"{kind}/kernel"].T for kind in ("query", "key", "value")]
        self.heads = heads
        self.query_bias, self.value_bias = weights["query/bias"], weights["value/bias"]
        self.qkv = QueryKeyValue(torch.cat(kernels).contiguous())
        self.out = linear(weights, "out")

    def forward(self, x: Tensor) -> Tensor:
        """x [1, token, width] -> the same."""
        bias = torch.cat((self.query_bias, torch.zeros_like(self.query_bias), self.value_bias))
        split = self.qkv(x, bias).reshape(*x.shape[:2], 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [1, head, token, channel]
        query = query * query.shape[-1] ** -0.5
        weights = (query @ key.transpose(-2, -1)).softmax(-1)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


class QueryKeyValue(nn.Module):
    """The module whose output the hook edits."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight
        self.removed: list[tuple[int, Tensor]] = []  # (head, keep [token]) of each removed concept

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return F.linear(x, self.weight, bias)


def remove_concepts(heads: int) -> Any:
    """A forward hook: keys times the masks of ``module.removed``, the rest as it was."""

    def hook(module: QueryKeyValue, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        query, key, value = output.reshape(*output.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
        keep = torch.ones_like(key)
        for head, tokens in module.removed:
            keep[0, head] = keep[0, head] * tokens[:, None]
        edited = torch.stack((query, key * keep, value))
        return edited.permute(1, 3, 0, 2, 4).reshape(output.shape)

    return hook


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = (norm(weights, f"norm_{i}", config["norm_eps"]) for i in (1, 2))
        self.attention = Attention(within(weights, "attn"), config["num_heads"])
        self.mlp = nn.Sequential(linear(weights, "mlp/fc_1"), nn.GELU(), linear(weights, "mlp/fc_2"))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class Classifier(nn.Module):
    """The classifier: patches, positions, blocks, mean over tokens, norm, classes."""

    def __init__(self, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        super().__init__()
        kernel = weights["patch_embed/kernel"]  # [frame, row, column, colour, width]
        frames, rows, columns = kernel.shape[:3]
        self.patch = nn.Conv3d(3, config["width"], (frames, rows, columns), stride=(frames, rows, columns))
        assign(self.patch, kernel.permute(4, 3, 0, 1, 2), weights["patch_embed/bias"])
        self.register_buffer("positions", positions(config))
        blocks = [Block(within(weights, f"block_{i}"), config) for i in range(config["depth"])]
        for block in blocks:
            block.attention.qkv.register_forward_hook(remove_concepts(config["num_heads"]))
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm(weights, "head_norm", config["head_norm_eps"])
        self.head = linear(weights, "head")
        self.qkv = [block.attention.qkv for block in blocks]

    def forward(self, video: Tensor) -> Tensor:
        """video [1, 3, time, height, width] -> logits [1, class]."""
        tokens = self.patch(video).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(tokens + self.positions).mean(1)))


def positions(config: Mapping[str, Any]) -> Tensor:
    """[token, width]: sine and cosine of the flattened token index, in float64 and rounded once."""
    side = config["image_size"] // config["patch_size"]
    index = torch.arange(config["num_frames"] // config["tubelet_size"] * side**2, dtype=torch.float64)
    channel = torch.arange(config["width"])
    angle = index[:, None] / 10000 ** (2 * (channel // 2).double() / config["width"])
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


def assign(module: nn.Module, weight: Tensor, bias: Tensor) -> None:
    module.weight, module.bias = (nn.Parameter(a.contiguous(), requires_grad=False) for a in (weight, bias))


def linear(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    kernel = weights[f"{name}/kernel"]
    layer = nn.Linear(kernel.shape[0], kernel.shape[1])
    assign(layer, kernel.T, weights[f"{name}/bias"])
    return layer


def norm(weights: Mapping[str, Tensor], name: str, eps: float) -> nn.LayerNorm:
    scale = weights[f"{name}/scale"]
    layer = nn.LayerNorm(scale.shape[0], eps)
    assign(layer, scale, weights[f"{name}/bias"])
    return layer


def within(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights below ``prefix/``, by the rest of their names."""
    return {name[len(prefix) + 1 :]: w for name, w in weights.items() if name.startswith(prefix + "/")}


def set_mask(network: Classifier, masks: list[list[tuple[int, int, Tensor]]], gates: Tensor) -> None:
    """Tells each block's hook which concepts a row of ``gates`` removes."""
    for qkv, concepts in zip(network.qkv, masks, strict=True):
        qkv.removed = [(head, keep) for concept, head, keep in concepts if gates[concept] == 0]


def concept_masks(ids: Tensor) -> list[tuple[int, int, Tensor]]:
    """ids [token, head] -> (concept, head, keep [token]) of every concept of a block."""
    found = []
    for head in range(ids.shape[1]):
        column = ids[:, head]
        found += [(int(i), head, (column != i).float()) for i in column.unique() if i >= 0]
    return found


def matmul_rate(size: int, repeats: int = 8) -> float:
    square = torch.randn(size, size)
    for _ in range(2):
        begun = time.perf_counter()
        for _ in range(repeats):
            torch.matmul(square, square)
    return 2 * size**3 * repeats / (time.perf_counter() - begun)


def serve(folder: Path) -> None:
    """Answers the lines of standard input."""
    with safe_open(folder / "network.safetensors", "pt") as source:
        config = json.loads(source.metadata()["config"])
        tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118  # not iterable itself
    network = Classifier(within(tensors, "params"), config).eval()
    video = tensors["video"].permute(3, 0, 1, 2)[None].contiguous()
    masks = [concept_masks(tensors[f"ids/{i}"]) for i in range(config["depth"])]
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("rate"):
            print(json.dumps({"rate": matmul_rate(int(line.split()[1]))}), flush=True)
            continue
        seconds, logits = 0.0, []
        for row in tensors["gates"][slice(*map(int, line.split()))]:
            set_mask(network, masks, row)
            begun = time.perf_counter()
            result = network(video)
            seconds += time.perf_counter() - begun
            logits.append(result[0].tolist())
        print(json.dumps({"seconds": seconds, "logits": logits}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    with torch.no_grad():
        serve(Path(sys.argv[1]))
