"""The stream of tokens that runs through a transformer, and how its sites are laid out.

    x  [batch, sequence, token, …]; a sequence is what attention sees at once: the whole clip (one sequence) or a frame.
       In each sequence special tokens (a class token) come first, then positions; positions are in (time, height,
       width) order over the sequences.

Sites show positions as [batch, time, height, width, …] and special tokens beside them, in the site whose name ends in
``_cls``, as [batch, sequence, special, …].
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from .taps import Tap


class Grid(NamedTuple):
    """Positions along time, height and width; ``special`` tokens before those of each sequence."""

    time: int
    height: int
    width: int
    special: int = 0


@struct.dataclass
class Stream:
    """What goes from block to block. x: [batch, sequence, token, channel]."""

    x: jax.Array
    grid: Grid = struct.field(pytree_node=False)

    @property
    def positions(self) -> jax.Array:
        """[batch, time, height, width, channel]."""
        return positions(self.x, self.grid)

    @property
    def special(self) -> jax.Array:
        """[batch, sequence, special, channel]."""
        return self.x[:, :, : self.grid.special]


def positions(x: jax.Array, grid: Grid) -> jax.Array:
    """[batch, sequence, token, …] -> [batch, time, height, width, …]."""
    rest = x[:, :, grid.special :] if grid.special else x
    return rest.reshape(len(x), grid.time, grid.height, grid.width, *x.shape[3:])


def tap_tokens(tap: Tap, site: str, x: jax.Array, grid: Grid) -> jax.Array:
    """Offers the positions of ``x`` as ``site`` and its special tokens as ``site_cls``; returns ``x``, edited."""
    on_grid = positions(x, grid)
    edited = tap(site, on_grid)
    if not grid.special:
        return x if edited is on_grid else edited.reshape(x.shape)
    special = x[:, :, : grid.special]
    edited_special = tap(f"{site}_cls", special)
    if edited is on_grid and edited_special is special:
        return x
    return join(edited_special, edited, x.shape[1])


def tap_added(tap: Tap, site: str, shape: tuple[int, ...], grid: Grid) -> jax.Array | None:
    """Float32 zeros [batch, sequence, token, …] offered as ``site``, or None where no one reads or edits them."""
    if not any(tap.wants(name) for name in (site, f"{site}_cls")):
        return None
    return tap_tokens(tap, site, jnp.zeros(shape, jnp.float32), grid)


def join(special: jax.Array, on_grid: jax.Array, sequences: int) -> jax.Array:
    """[batch, sequence, special, …] and [batch, time, height, width, …] -> [batch, sequence, token, …]."""
    batch, rest = len(on_grid), on_grid.shape[4:]
    return jnp.concatenate([special, on_grid.reshape(batch, sequences, -1, *rest)], axis=2)
