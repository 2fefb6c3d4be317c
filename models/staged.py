"""A pass in stages: ``embed``, one block after the other, ``head``; so that it can begin at what another has stored.

    carry   what goes from block to block (a stream of tokens, with what runs beside it), a pytree

Blocks of one kind have the same parameters but for their names, so one compiled function serves them all: block i is
run as the first of its kind, with the parameters and edits of block i under that one's names (``Part``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from .taps import Tap, complete_inputs
from .types import Edit, Inputs, Model, Output


class Staged(nn.Module):
    """A network of ``config.depth`` blocks. Sub-classes define ``embed(inputs, tap) -> carry``,
    ``block(carry, index, tap) -> carry`` and ``head(carry, inputs, tap) -> Output``.
    """

    def __call__(self, inputs: Inputs, tap: Tap) -> Output:
        carry = self.embed(inputs, tap)  # type: ignore[attr-defined]
        for i in range(self.config.depth):  # type: ignore[attr-defined]
            carry = self.block(carry, i, tap)  # type: ignore[attr-defined]
        return self.head(carry, inputs, tap)  # type: ignore[attr-defined]

    def block_names(self, index: int) -> tuple[str, ...]:
        """What belongs to block ``index`` alone: beginnings of site names, which are places in ``params`` too."""
        return (f"block_{index}",)


@dataclass(frozen=True)
class Part:
    """A block as the first of its kind.

    index: its own number.  first: that of the first of its kind.  renamed: own names -> those of the first.
    """

    index: int
    first: int
    renamed: tuple[tuple[str, str], ...]

    def sites(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What belongs to this block, by the first block's names."""
        return {
            new + site[len(old) :]: value
            for old, new in self.renamed
            for site, value in values.items()
            if site.startswith(f"{old}/")
        }


def is_staged(model: Model) -> bool:
    """Whether a pass of this network can begin at a block."""
    return isinstance(model.module, Staged)


def parts(model: Model) -> list[Part]:
    """Every block of a staged network."""
    names = [model.module.block_names(i) for i in range(model.config.depth)]
    kinds = [tuple(re.sub(r"\d+$", "", name) for name in own) for own in names]
    firsts = [kinds.index(kind) for kind in kinds]
    return [Part(i, f, tuple(zip(names[i], names[f], strict=True))) for i, f in enumerate(firsts)]


def block_of(model: Model, site: str) -> int | None:
    """The block that a site belongs to; None where it belongs to none."""
    for part in parts(model):
        if any(site.startswith(f"{old}/") for old, _ in part.renamed):
            return part.index
    return None


def part_params(model: Model, part: Part) -> dict[str, Any]:
    """The block's parameters by the first block's names, beside those that belong to no block."""
    flat = flatten_dict(model.params, sep="/")
    blocks = tuple(f"{name}/" for i in range(model.config.depth) for name in model.module.block_names(i))
    rest = {name: value for name, value in flat.items() if not name.startswith(blocks)}
    return unflatten_dict(rest | part.sites(flat), sep="/")


def run_in_parts(model: Model, inputs: Inputs) -> Output:
    """An untouched pass, ``forward(model, inputs)[0]`` but for rounding: every kind of block is compiled once, which
    takes the compiler a fraction of the time and memory of the whole network."""
    carry = embedded(model, inputs)
    for part in parts(model):
        carry = plain_part(model.module, part.first, part_params(model, part), carry)
    return _predicted(model, carry, inputs)


@jax.jit
def embedded(model: Model, inputs: Inputs) -> Any:
    """``run_embed``, compiled."""
    return run_embed(model, inputs)


@partial(jax.jit, static_argnums=(0, 1))
def plain_part(module: nn.Module, first: int, params: Any, carry: Any) -> Any:
    """``run_part`` without edits, compiled."""
    return run_part(module, first, params, carry, {})


@jax.jit
def _predicted(model: Model, carry: Any, inputs: Inputs) -> Output:
    return run_head(model, carry, inputs)


def run_embed(model: Model, inputs: Inputs) -> Any:
    """The carry before the first block."""
    return _apply(model.module, model.params, complete_inputs(model, inputs), Tap({}, ()), method="embed")


def run_part(module: nn.Module, first: int, params: Any, carry: Any, edits: Mapping[str, Edit]) -> Any:
    """The carry after a block. params, edits: see ``part_params`` and ``Part.sites``.

    Raises ValueError for an edit of a site that the block does not have.
    """
    tap = Tap(edits, ())
    carry = _apply(module, params, carry, first, tap, method="block")
    tap.check()
    return carry


def run_head(model: Model, carry: Any, inputs: Inputs) -> Output:
    """What the network predicts from the carry after its last block."""
    return _apply(model.module, model.params, carry, complete_inputs(model, inputs), Tap({}, ()), method="head")


def _apply(module: nn.Module, params: Any, *arguments: Any, method: str) -> Any:
    return module.apply({"params": params}, *arguments, method=method)
