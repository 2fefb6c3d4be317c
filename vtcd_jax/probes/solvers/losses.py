"""Convex losses of linear read-outs, with first and second derivatives with respect to the scores.

scores F [sample, output]     targets T [sample, output]: signs -1 and 1 (one output), or rows of 0 and 1 (classes)

name             loss of a sample                          sklearn
logistic         log(1 + exp(-t f))                        LogisticRegression, two classes
squared-hinge    max(0, 1 - t f)^2                         LinearSVC
closed-form      (f - t)^2 / 2                             Ridge on the signs
multinomial      log sum_c exp f_c - f_label               LogisticRegression, many classes
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Smooth = Literal["logistic", "squared-hinge", "closed-form", "multinomial"]

SMALLEST_CURVATURE = 1e-12  # of the logistic losses: a step stays finite where exp underflows


class Derivatives(NamedTuple):
    """Derivatives of each sample's loss: first, and the diagonal of the second; both [sample, output]."""

    gradient: Array
    curvature: Array


def values(loss: Smooth, F: Float[Array, "sample output"], T: Float[Array, "sample output"]) -> Float[Array, "sample"]:
    """The loss of each sample."""
    if loss == "multinomial":
        return jax.nn.logsumexp(F, axis=1) - (T * F).sum(1)
    if loss == "logistic":
        return jax.nn.softplus(-T * F).sum(1)
    if loss == "squared-hinge":
        return (jnp.maximum(0, 1 - T * F) ** 2).sum(1)
    return ((F - T) ** 2).sum(1) / 2


def derivatives(loss: Smooth, F: Float[Array, "sample output"], T: Float[Array, "sample output"]) -> Derivatives:
    """First derivatives and the diagonal of the second ones."""
    if loss == "multinomial":
        probabilities = jax.nn.softmax(F, axis=1)
        return Derivatives(probabilities - T, jnp.maximum(probabilities * (1 - probabilities), SMALLEST_CURVATURE))
    if loss == "logistic":
        wrong = jax.nn.sigmoid(-T * F)
        return Derivatives(-T * wrong, jnp.maximum(wrong * (1 - wrong), SMALLEST_CURVATURE))
    if loss == "squared-hinge":
        missing = jnp.maximum(0, 1 - T * F)
        return Derivatives(-2 * T * missing, 2.0 * (missing > 0))
    return Derivatives(F - T, jnp.ones_like(F))


def second_product(
    loss: Smooth,
    F: Float[Array, "sample output"],
    T: Float[Array, "sample output"],
    change: Float[Array, "sample output"],
) -> Float[Array, "sample output"]:
    """Second derivatives of each sample's loss times a change of its scores."""
    if loss == "multinomial":
        probabilities = jax.nn.softmax(F, axis=1)
        moved = probabilities * change
        return moved - probabilities * moved.sum(1, keepdims=True)
    return derivatives(loss, F, T).curvature * change
