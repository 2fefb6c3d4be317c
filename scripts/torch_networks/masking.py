"""Masked passes of the torch VideoMAE classifier, as VTCD's released code runs them.

A forward hook on each block's query-key-value product multiplies the keys of each removed concept's head by its mask,
one concept after the other.

    ids     int [token, head] per block, the concept of each token or -1
    gates   [concept], 0 = removed

Kowal et al. (2024), VTCD, section 3.3.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .videomae import Classifier

Removed = list[tuple[int, Tensor]]  # of each removed concept of a block: head, keep [token]


def hook_blocks(network: Classifier, ids: Sequence[Tensor]) -> Callable[[Tensor], None]:
    """Puts a hook on every block; what is returned tells them which concepts a row of gates removes."""
    masks = [concept_masks(of_block) for of_block in ids]
    removed: list[Removed] = [[] for _ in masks]
    blocks: Any = network.encoder.blocks
    for block, of_block in zip(blocks, removed, strict=True):
        block.attention.qkv.register_forward_hook(remove_concepts(block.attention.heads, of_block))

    def set_gates(gates: Tensor) -> None:
        for of_block, concepts in zip(removed, masks, strict=True):
            of_block[:] = [(head, keep) for concept, head, keep in concepts if gates[concept] == 0]

    return set_gates


def concept_masks(ids: Tensor) -> list[tuple[int, int, Tensor]]:
    """ids [token, head] -> (concept, head, keep [token]) of every concept of a block."""
    found = []
    for head in range(ids.shape[1]):
        column = ids[:, head]
        found += [(int(i), head, (column != i).float()) for i in column.unique() if i >= 0]
    return found


def remove_concepts(heads: int, removed: Removed) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """A forward hook: keys times the masks of ``removed``, the rest as it was."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        query, key, value = output.reshape(*output.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
        keep = torch.ones_like(key)
        for head, tokens in removed:
            keep[0, head] = keep[0, head] * tokens[:, None]
        edited = torch.stack((query, key * keep, value))
        return edited.permute(1, 3, 0, 2, 4).reshape(output.shape)

    return hook
