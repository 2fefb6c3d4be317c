"""How the output of a submodule is read as a site, and how an edited site goes back into it.

    value     what the submodule gives, with the network's own axes
    tokens    [batch, time, height, width, channel], or [batch, time, height, width, head, channel] per head

Special tokens (class token, registers) stand before those of the grid. They are part of the value, not of the site, and
stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import jax
import jax.numpy as jnp

from vtcd_jax.base.errors import InputError

Restore = Callable[[jax.Array], jax.Array]


@dataclass(frozen=True)
class ModuleSite:
    """The output of a submodule as a site.

    path:    of the submodule, its names joined with "/": "encoder/block_0/attn/key". Of a submodule that gives a tuple
             the first entry is meant.
    grid:    (time, height, width) of the tokens, for outputs [batch, token, channel] and [batch, token, head, channel].
             None for outputs that have these axes: [batch, time, height, width, channel], or
             [batch * time, height, width, channel] of networks that see frames one by one.
    special: number of tokens before those of the grid. A network that sees frames one by one has them in every frame.
    heads:   number of heads that the channels are divided among; None: they are not divided.
    """

    path: str
    grid: tuple[int, int, int] | None = None
    special: int = 0
    heads: int | None = None

    def __post_init__(self) -> None:
        if self.grid is not None and (len(self.grid) != 3 or min(self.grid) < 1):
            raise InputError(f"grid {self.grid} of {self.path!r} must be three numbers, (time, height, width)")
        if self.special < 0 or (self.heads is not None and self.heads < 1):
            raise InputError(f"{self.path!r}: special {self.special} and heads {self.heads} count tokens and heads")


def tokens_of(name: str, site: ModuleSite, value: jax.Array, batch: int) -> tuple[jax.Array, Restore]:
    """The site in ``value``, and the function that puts an edited one back.

    Raises InputError, naming site, shape and what was expected, where the value does not fit.
    """
    tokens, restore = _on_grid(name, site, value, batch)
    if site.heads is None:
        return tokens, restore
    channels = tokens.shape[4]
    if tokens.ndim == 6 or channels % site.heads:
        raise InputError(f"{_shown(name, site, value)}: its channels cannot be divided among {site.heads} heads")
    divided = tokens.reshape(*tokens.shape[:4], site.heads, channels // site.heads)
    return divided, lambda edited: restore(edited.reshape(tokens.shape))


def _on_grid(name: str, site: ModuleSite, value: jax.Array, batch: int) -> tuple[jax.Array, Restore]:
    shape = value.shape
    if site.grid is None:
        if len(shape) == 5 and shape[0] == batch and not site.special:
            return value, lambda edited: edited
        if len(shape) == 4 and not shape[0] % batch and not site.special:
            return value.reshape(batch, shape[0] // batch, *shape[1:]), lambda edited: edited.reshape(shape)
        raise InputError(
            f"{_shown(name, site, value)}, not [batch, time, height, width, channel]; give its grid (and special)"
        )
    time, height, width = site.grid
    parts = 1 if shape[0] == batch else time  # frames one by one
    count = site.special + prod(site.grid) // parts
    if len(shape) not in (3, 4) or shape[:2] != (batch * parts, count):
        raise InputError(
            f"{_shown(name, site, value)}, which does not fit grid {site.grid} and {site.special} special tokens: "
            f"expected [{batch}, {site.special + prod(site.grid)}, …] or [{batch * time}, "
            f"{site.special + height * width}, …]"
        )
    special, rest = value[:, : site.special], value[:, site.special :]

    def restore(edited: jax.Array) -> jax.Array:
        return jnp.concatenate([special, edited.reshape(rest.shape)], axis=1)

    return rest.reshape(batch, time, height, width, *shape[2:]), restore


def _shown(name: str, site: ModuleSite, value: jax.Array) -> str:
    return f"site {name!r}: the output of {site.path!r} has shape {list(value.shape)}"
