"""Derivatives with respect to the values of sites, by shifting them: ``value + shift`` at a shift of 0.

A shift with an axis of length 1 moves all positions along that axis alike, so its derivative is the sum of theirs: that
is how derivatives are pooled, before anything of token size leaves the backward pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from vtcd_jax.models import Edit

from .layout import pooled_axes, pooled_shape

Shifts = tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
"""(site, shape of its shift [1, …], axes to remove) of every site; hashable."""


def shifts_of(shapes: Mapping[str, tuple[int, ...]], pool: str | None) -> Shifts:
    """The shifts of sites, shapes at a batch of one, in the order of their names."""
    return tuple(
        (name, pooled_shape(name, shape, pool), pooled_axes(name, shape, pool))
        for name, shape in sorted(shapes.items())
    )


def zeros(shifts: Shifts) -> dict[str, jax.Array]:
    """No shift: site -> float32 zeros."""
    return {name: jnp.zeros(shape, jnp.float32) for name, shape, _ in shifts}


def edits(values: Mapping[str, jax.Array]) -> dict[str, Edit]:
    """The shifts as interventions."""
    return {name: Edit(shift=value) for name, value in values.items()}


def without_pooled(shifts: Shifts, derivatives: Mapping[str, jax.Array], dtype: str) -> dict[str, jax.Array]:
    """Derivatives in ``dtype``, without the axes that pooling removes."""
    return {name: derivatives[name].squeeze(axes).astype(dtype) for name, _, axes in shifts}
