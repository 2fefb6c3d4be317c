"""Learning rates and optimisers are those of their formulas."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vtcd_jax.models import InputError
from vtcd_jax.training import Optimizer, Rate, TrainSettings, learning_rate
from vtcd_jax.training.optimizer import make_optimizer

pytestmark = pytest.mark.compile


def rates(rate: Rate, steps: int) -> np.ndarray:
    schedule = learning_rate(rate, steps)
    return np.array([float(schedule(jnp.asarray(step))) for step in range(steps)])


def test_cosine_falls_from_the_end_of_the_warm_up():
    expected = [0.2 * s / 4 for s in range(4)] + [0.1 * (1 + np.cos(np.pi * s / 6)) for s in range(6)]
    np.testing.assert_allclose(rates(Rate(0.2, warmup=4), 10), expected, rtol=1e-5, atol=1e-8)


def test_whole_cosine_is_met_by_its_warm_up():
    """Base 0.1, warm-up from 0.08, cosine over all steps without an offset (SlowFast's recipe)."""
    whole = 0.05 * (1 + np.cos(np.pi * np.arange(10) / 10))
    expected = np.where(np.arange(10) < 3, 0.08 + np.arange(10) / 3 * (whole[3] - 0.08), whole)
    np.testing.assert_allclose(rates(Rate(0.1, "whole-cosine", 3, 0.08), 10), expected, rtol=1e-5)


def test_steps_drop_the_rate_at_their_step():
    expected = [0.0, 0.5, 1, 1, 0.1, 0.1, 0.01, 0.01]
    np.testing.assert_allclose(rates(Rate(1.0, "steps", 2, drops=(4, 6)), 8), expected, rtol=1e-5)
    np.testing.assert_allclose(rates(Rate(1e-5, "constant"), 4), 1e-5, rtol=1e-5)


def trajectory(optimizer: Optimizer) -> np.ndarray:
    """Parameters after three steps on the loss (w^2 / 2).sum(), from 1 and 2, at a constant rate of 0.1."""
    made = make_optimizer(optimizer, Rate(0.1, "constant"), 3)
    w: Any = {"w": jnp.array([[1.0, 2.0]]), "bias": jnp.array([1.0])}
    moments = made.init(w)
    for _ in range(3):
        update, moments = made.update(w, moments, w)
        w = optax.apply_updates(w, update)
    return np.concatenate([np.ravel(w["w"]), w["bias"]])


def test_sgd_adds_the_decay_to_the_gradient():
    w, velocity = np.array([1.0, 2.0, 1.0]), np.zeros(3)
    for _ in range(3):
        velocity = 0.9 * velocity + w + 0.5 * w
        w = w - 0.1 * velocity
    np.testing.assert_allclose(trajectory(Optimizer("sgd", 0.5, "all", None)), w, rtol=1e-5)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_decays_in_the_gradient_and_adamw_beside_it(kind):
    w, m, v = np.array([1.0, 2.0, 1.0]), np.zeros(3), np.zeros(3)
    decay = 0.5 * np.array([1, 1, 0])  # not the bias
    for t in range(1, 4):
        slope = w + (decay * w if kind == "adam" else 0)
        m, v = 0.9 * m + 0.1 * slope, 0.99 * v + 0.01 * slope**2
        update = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        w = w - 0.1 * (update + (decay * w if kind == "adamw" else 0))
    np.testing.assert_allclose(trajectory(Optimizer(kind, 0.5, clip_norm=None, beta2=0.99)), w, rtol=1e-5)


def test_muon_moves_matrices_along_their_orthogonalised_gradient_and_the_rest_as_nadam():
    """One step from zero. Newton-Schulz brings singular values near 1 (0.7 to 1.2); their size is 0.2 sqrt(6)."""
    rng = np.random.default_rng(0)
    slope = {"w": jnp.asarray(rng.normal(size=(6, 4)), jnp.float32), "bias": jnp.array([3.0, -2.0])}
    zero: Any = jax.tree.map(jnp.zeros_like, slope)
    made = make_optimizer(Optimizer("muon", 0.5, clip_norm=None, momentum=0.95), Rate(0.1, "constant"), 3)
    update: Any = made.update(slope, made.init(zero), zero)[0]
    u, _, v = np.linalg.svd(np.asarray(slope["w"]), full_matrices=False)
    along = u.T @ np.asarray(update["w"]) @ v.T / (-0.1 * 0.2 * 6**0.5)
    np.testing.assert_allclose(along, np.diag(np.diag(along)), atol=1e-3)
    assert (np.diag(along) > 0.6).all() and (np.diag(along) < 1.3).all()
    nesterov = 0.9 * 0.1 / (1 - 0.9**2) + 1  # mean of gradients, one step ahead
    np.testing.assert_allclose(update["bias"], [-0.1 * nesterov, 0.1 * nesterov], rtol=1e-4)


def test_gradients_are_clipped_by_their_norm():
    short = trajectory(Optimizer("sgd", clip_norm=0.1, momentum=0.0))
    start = np.array([1.0, 2.0, 1.0])
    np.testing.assert_allclose(short, start * (1 - 0.03 / np.linalg.norm(start)), rtol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: TrainSettings(0, 8), "steps: 1 or more"),
        (lambda: TrainSettings(10, 8, seed=-1), "seed: 0 or more"),
        (lambda: TrainSettings(10, 8, average=1.0), "average: from 0 up to 1"),
        (lambda: TrainSettings(10, 8, rate=Rate(warmup=10)), r"rate.warmup: below the number of steps \(10\)"),
        (lambda: TrainSettings(10, 8, checkpoint_every=4, kept_every=6), "kept_every: a multiple"),
        (lambda: Rate(float("nan")), "rate.highest: a finite number"),
        (lambda: Rate(drops=(3,)), "with the schedule 'steps'"),
        (lambda: Rate(schedule="steps"), "with the schedule 'steps'"),
        (lambda: Rate(schedule="steps", drops=(5, 3)), "steps from 1 that grow"),
        (lambda: Optimizer(clip_norm=0.0), "optimizer.clip_norm: above 0"),
        (lambda: Optimizer("muon", decayed="all"), "muon decays matrices only"),
    ],
)
def test_settings_out_of_their_range_are_refused_by_name(make, message):
    with pytest.raises(InputError, match=message):
        make()
