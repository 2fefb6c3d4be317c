"""The rounds of SLIC on the device: each voxel goes to its nearest centre, each centre to the mean of its voxels.

    v [time height width channel]  features, at their own resolution or to be interpolated linearly
    c [seed 3], f [seed channel]   centres: position and features         label [time height width], a seed or -1
    D(voxel, k) = |p - c_k|² / scale² + |v - f_k|²    inside the window of k; the lowest k wins ties

Interpolated features never exist. Interpolation is linear and its weights sum to one, so ⟨v, f⟩ at a voxel is the
interpolated ⟨token, f⟩: one scalar a centre instead of all channels; |v|² is common to all centres and drops out. Sums
over a centre's voxels go the same way back: its member voxels are spread over the tokens by the transposed matrices.
Achanta et al. (2012), Algorithm 1.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

ROUNDS = 10


class Axes(NamedTuple):
    """Interpolation along time, height and width, float32 [new, old] each; None where volumes are taken as they are."""

    time: Array | np.ndarray
    height: Array | np.ndarray
    width: Array | np.ndarray


class Start(NamedTuple):
    """``seeds.Seeds`` on the device: centres [seed, 3], 1 / scale², windows [3]."""

    centres: Array | np.ndarray
    weight: Array | np.ndarray
    windows: Array | np.ndarray


class _State(NamedTuple):
    labels: Array
    centres: Array
    features: Array


@partial(jax.jit, static_argnames="batch")
def segment_volumes(
    volumes: Float[Array, "volume t h w channel"],
    axes: Axes | None,
    start: Start,
    compactness: Float[Array, ""],
    mask: Bool[Array, "time height width"] | None,
    *,
    batch: int = 1,
) -> Int[Array, "volume time height width"]:
    """Labels of several volumes before connectivity: the number of a seed, -1 outside ``mask`` and where no window
    reaches. ``batch`` of them run side by side; each is computed in the same way whatever their number."""
    one = partial(_segment_volume, axes=axes, start=start, compactness=compactness, mask=mask)
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(one, volumes, batch_size=batch)


def _segment_volume(volume: Array, *, axes: Axes | None, start: Start, compactness: Array, mask: Array | None) -> Array:
    inside = None if mask is None else mask[..., None]
    least, most = _extremes(volume, axes, inside)
    unit = (volume - least) / jnp.where(most > least, most - least, 1) / compactness
    # A shift of the features moves no voxel, and small numbers keep float32 exact.
    unit = unit - unit.mean((0, 1, 2), where=inside)
    unit = unit if inside is None else jnp.where(inside, unit, 0)
    shape = volume.shape[:3] if axes is None else tuple(len(matrix) for matrix in axes)
    table = jnp.concatenate([unit.reshape(-1, unit.shape[-1]), _positions(shape)], 1) if axes is None else None
    seeds = len(start.centres)
    # All features of the first centres are equal (zero): positions alone decide. Inside a mask they do so for ten
    # rounds.
    plain = 1 if mask is None else ROUNDS

    def step(round: Array, state: _State) -> _State:
        moved = partial(_means, state.labels, unit, table, axes, seeds)
        centres, features = jax.lax.cond(round > 0, moved, lambda: (state.centres, state.features))
        blank = jnp.zeros((seeds, *shape), unit.dtype)
        colour = jax.lax.cond(round < plain, lambda: blank, lambda: _colour(unit, features, axes))
        return _State(_nearest(state.labels, centres, colour, start, mask), centres, features)

    zero = jnp.zeros((seeds, volume.shape[-1]), volume.dtype)
    state = _State(jnp.full(shape, -1, jnp.int32), jnp.asarray(start.centres), zero)
    return jax.lax.fori_loop(0, ROUNDS if mask is None else 2 * ROUNDS, step, state).labels


def _extremes(volume: Array, axes: Axes | None, inside: Array | None) -> tuple[Array, Array]:
    """Smallest and largest value of the (interpolated) volume, a few channels at a time."""
    if axes is None:
        low = volume if inside is None else jnp.where(inside, volume, jnp.inf)
        high = volume if inside is None else jnp.where(inside, volume, -jnp.inf)
        return low.min(), high.max()

    def channel(values: Array) -> tuple[Array, Array]:
        fine = jnp.einsum("thw,Tt,Hh,Ww->THW", values, *axes)
        return fine.min(), fine.max()

    least, most = jax.lax.map(channel, jnp.moveaxis(volume, -1, 0))
    return least.min(), most.max()


def _colour(unit: Array, features: Array, axes: Axes | None) -> Array:
    """|f_k|² - 2 ⟨v, f_k⟩ at every voxel, [seed, time, height, width]."""
    product = jnp.einsum("thwc,kc->kthw", unit, -2 * features)
    if axes is not None:
        product = jnp.einsum("kthw,Tt->kThw", product, axes.time)
        product = jnp.einsum("kthw,Hh->ktHw", product, axes.height)
        product = jnp.einsum("kthw,Ww->kthW", product, axes.width)
    return product + (features**2).sum(-1)[:, None, None, None]


def _nearest(labels: Array, centres: Array, colour: Array, start: Start, mask: Array | None) -> Array:
    """The nearest centre of every voxel; its last label where no window reaches."""
    reach = 2 * jnp.asarray(start.windows)
    first = jnp.floor(jnp.maximum(centres - reach, 0))
    stop = jnp.floor(jnp.minimum(centres + reach + 1, jnp.asarray(labels.shape, jnp.float32)))
    squares = []
    for axis, size in enumerate(labels.shape):
        place = jnp.arange(size, dtype=jnp.float32)
        seen = (place >= first[:, axis, None]) & (place < stop[:, axis, None])
        squares.append(jnp.where(seen, (place - centres[:, axis, None]) ** 2, jnp.inf))
    time, height, width = squares
    best = jnp.full(labels.shape, jnp.inf)
    for k in range(len(centres)):
        distance = (time[k, :, None, None] + height[k, :, None] + width[k]) * start.weight + colour[k]
        nearer = distance < best  # never for an empty centre, whose mean is nan
        best, labels = jnp.where(nearer, distance, best), jnp.where(nearer, k, labels)
    return labels if mask is None else jnp.where(mask, labels, -1)


def _means(labels: Array, unit: Array, table: Array | None, axes: Axes | None, seeds: int) -> tuple[Array, Array]:
    """Mean position [seed, 3] and features [seed, channel] of the voxels of each centre; nan without voxels."""
    member = (labels == jnp.arange(seeds)[:, None, None, None]).astype(unit.dtype)
    if table is not None:  # features and positions of every voxel side by side
        sums = member.reshape(seeds, -1) @ table
        count, places, features = sums[:, -1:], sums[:, -4:-1], sums[:, :-4]
        return places / count, features / count
    assert axes is not None
    tokens, count, places = spread(member, axes)
    return places / count[:, None], jnp.einsum("kthw,thwc->kc", tokens, unit) / count[:, None]


def spread(
    member: Float[Array, "seed time height width"], axes: Axes
) -> tuple[Float[Array, "seed t h w"], Float[Array, "seed"], Float[Array, "seed 3"]]:
    """What interpolation back to the tokens makes of ``member``: its weight on every token, its sum, and the sums of
    the positions (time, height, width) of its voxels.
    """
    time, height, width = (jnp.arange(size, dtype=member.dtype) for size in member.shape[1:])
    wide = jnp.concatenate([jnp.asarray(axes.width), jnp.ones((len(width), 1)), width[:, None]], 1)
    rows = jnp.einsum("kTHW,Ww->kTHw", member, wide)
    tokens, counts = rows[..., :-2], rows[..., -2]
    tokens = jnp.einsum("kTHw,Hh->kThw", tokens, axes.height)
    tokens = jnp.einsum("kThw,Tt->kthw", tokens, axes.time)
    places = (counts.sum(2) @ time, counts.sum(1) @ height, rows[..., -1].sum((1, 2)))
    return tokens, counts.sum((1, 2)), jnp.stack(places, -1)


def _positions(shape: tuple[int, ...]) -> Array:
    """Time, height and width of every voxel and a column of ones, float32 [voxel, 4]."""
    columns = jnp.meshgrid(*(jnp.arange(size, dtype=jnp.float32) for size in shape), indexing="ij")
    return jnp.stack([*columns, jnp.ones(shape)], -1).reshape(-1, 4)
