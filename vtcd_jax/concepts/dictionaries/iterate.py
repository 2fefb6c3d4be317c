"""The loop of every factorisation: one step after the other until the error has settled.

    error  [step + 1], before the first step and after each, held from the last step on

Runs on the device as one ``while`` loop, so that it passes through ``jit`` and ``vmap``; the errors of all
steps come back, because a fit cannot be judged by its last error alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

WINDOW = 20  # steps over which the stopping rule looks: single steps move less than float32 rounding


class Descent(NamedTuple):
    """Where the loop ended: the last state, error [step + 1], whether it converged, and the steps taken."""

    state: Any
    error: jax.Array
    converged: jax.Array
    steps: jax.Array


def descend(
    step: Callable[[Any], Any],
    error: Callable[[Any], Array],
    start: Any,
    tol: Array | float,
    *,
    max_steps: int,
    window: int = WINDOW,
    settled: Callable[[Any, Any], Array] | None = None,
) -> Descent:
    """Steps from ``start`` until the error fell by less than ``tol`` of itself over ``window`` steps.

    step:    state -> state.   error: state -> float32 [].
    tol:     0 runs all ``max_steps``.
    settled: (state before, state after) -> bool []; replaces the rule above where a step can end exactly.
    """

    def body(now: Descent) -> Descent:
        state, count = step(now.state), now.steps + 1
        errors = now.error.at[count].set(error(state))
        if settled is not None:
            return Descent(state, errors, settled(now.state, state), count)
        before = errors[jnp.maximum(count - window, 0)]
        done = (tol > 0) & (count >= window) & (before - errors[count] <= tol * before)
        return Descent(state, errors, done, count)

    errors = jnp.zeros(max_steps + 1).at[0].set(error(start))
    first = Descent(start, errors, jnp.bool_(False), jnp.int32(0))
    end = jax.lax.while_loop(lambda now: ~now.converged & (now.steps < max_steps), body, first)
    held = jnp.where(jnp.arange(max_steps + 1) <= end.steps, end.error, end.error[end.steps])
    return end._replace(error=held)


def relative(residual: Float[Array, "sample feature"], X: Float[Array, "sample feature"]) -> Float[Array, ""]:
    """‖residual‖ / ‖X‖. From the residual itself: short forms through Gram matrices cancel in float32."""
    return jnp.sqrt((residual**2).sum() / jnp.maximum((X**2).sum(), jnp.finfo(X.dtype).tiny))


def unit_scale(X: Float[Array, "sample feature"]) -> Float[Array, ""]:
    """The factor that brings samples (zero rows apart) to a mean square length of one.

    Factorisations do not depend on the scale of X; at length one, small constants stay small and float32 in range.
    """
    norm, samples = jnp.sqrt((X**2).sum()), (jnp.abs(X).max(1) > 0).sum()
    return jnp.where(norm > 0, jnp.sqrt(samples) / norm, 1.0)
