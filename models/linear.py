"""Linear layers, on the CPU in runs of rows where there are many.

XLA's matrix product on the CPU loses 10 to 15 % of its rate at thousands of rows, whose results leave the cache before
they are used; in runs of about 750 rows it does not. A run goes through a whole MLP before the next one begins.

Products of 16-bit numbers have float32 results there: a processor's 16-bit matrix units are used for those alone, and
without them products are at most as fast as in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

# Scaled by fan-in: with the originals' 0.02-normal weights a small network does not leave chance.
KERNEL_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
MANY_ROWS = 2000
RUN_ROWS = range(1000, 500, -1)
PADDED_RUN = 800


class Linear(nn.Module):
    """``x @ kernel + bias`` over the last axis."""

    features: int
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = KERNEL_INIT

    def __call__(self, x: jax.Array) -> jax.Array:
        weights = self.weights(x.shape[-1], x.dtype)
        return in_runs(lambda rows: affine(rows, weights), x)

    @nn.compact
    def weights(self, inputs: int, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array | None]:
        """Kernel [in, out] and bias [out], or None."""
        kernel = self.param("kernel", self.kernel_init, (inputs, self.features)).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(dtype) if self.use_bias else None
        return kernel, bias


def affine(rows: jax.Array, weights: tuple[jax.Array, jax.Array | None]) -> jax.Array:
    """``rows @ kernel + bias``; in 16 bits on the CPU summed in float32 and rounded once."""
    operands = [rows, *(w for w in weights if w is not None)]
    if rows.dtype.itemsize == 2:
        return jax.lax.platform_dependent(*operands, cpu=_summed_wide, default=_affine)
    return _affine(*operands)


def _affine(rows: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    product = rows @ kernel
    return product if bias is None else product + bias


def _summed_wide(rows: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    product = jnp.matmul(rows, kernel, preferred_element_type=jnp.float32)
    return (product if bias is None else product + bias).astype(rows.dtype)


def in_runs(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``function`` ([row, in] -> [row, out], row by row) over all rows of ``x`` [..., in]."""
    flat = x.reshape(-1, x.shape[-1])
    if len(flat) < MANY_ROWS:
        result = function(flat)
    else:
        result = jax.lax.platform_dependent(flat, cpu=lambda rows: _in_runs(function, rows), default=function)
    return result.reshape(*x.shape[:-1], -1)


def _in_runs(function: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    count = len(rows)
    run = next((r for r in RUN_ROWS if count % r == 0), PADDED_RUN)
    padded = jnp.pad(rows, ((0, -count % run), (0, 0)))
    done = jax.lax.map(function, padded.reshape(-1, run, rows.shape[-1]))
    return done.reshape(-1, done.shape[-1])[:count]
