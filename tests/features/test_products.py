"""Derivatives of values at one site by values at sites before it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import features
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import Edit, InputError, forward

pytestmark = pytest.mark.compile

LOWER, UPPER = ("block_0/attn/key", "embed"), "block_1/attn/value"


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Three cotangents, [cotangent, time, height, width, head, channel]."""
    return np.random.default_rng(0).normal(size=(3, 2, 2, 2, 2, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def found(model, clips, rows) -> dict[str, np.ndarray]:
    return features.between(model, clips, LOWER, UPPER, rows)


def test_rows_are_derivatives_of_the_weighted_values_above(model, clips, rows, found):
    """Against ``jax.jacrev`` of a forward pass."""
    assert found["embed"].shape == (4, 3, 2, 2, 2, 8)

    @jax.jit
    def jacobian(inputs):
        def upper(shifts):
            edits = {site: Edit(shift=shift) for site, shift in shifts.items()}
            value = forward(model, inputs, edits=edits, capture=(UPPER,))[1][UPPER][0]
            return (rows * value).reshape(3, -1).sum(1)

        return jax.jacrev(upper)({site: jnp.zeros(found[site].shape[2:])[None] for site in LOWER})

    for video in range(len(clips)):
        expected = jacobian(clip_inputs(model, clips, video))
        for site in LOWER:
            assert np.abs(expected[site]).max() > 1e-4
            np.testing.assert_allclose(found[site][video], expected[site][:, 0], atol=2e-6)


def test_cotangents_may_differ_from_clip_to_clip(model, clips, rows, found):
    own = rows * np.arange(1, 5, dtype=np.float32)[:, None, None, None, None, None, None]
    scaled = features.between(model, clips, LOWER, UPPER, own)
    for site in LOWER:
        by_clip = np.arange(1, 5, dtype=np.float32).reshape(-1, *[1] * (found[site].ndim - 1))
        np.testing.assert_allclose(scaled[site], found[site] * by_clip, atol=1e-5)


def test_an_axis_of_one_stands_for_equal_values_along_it(model, clips, rows):
    small = rows[:, :1, :1, :1]
    wide = features.between(model, clips, LOWER, UPPER, np.broadcast_to(small, rows.shape))
    found = features.between(model, clips, LOWER, UPPER, small)
    np.testing.assert_allclose(found["embed"], wide["embed"], atol=1e-6)


def slope_of_distance(value, centre):
    """ITCAV's: minus the derivative of the distance between the mean over positions and a concept's centre."""

    def nearness(value):
        return -jnp.sqrt(jnp.square(value.mean((0, 1, 2)).reshape(-1) - centre).sum() + 1e-12)

    return jax.grad(nearness)(value)[None]


def test_a_function_makes_cotangents_of_the_value_above(model, clips):
    """The derivative of a distance, each clip with its own centre, from one pass forward."""
    centres = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    found = features.between(model, clips, "embed", UPPER, slope_of_distance, arguments=centres)["embed"]

    @jax.jit
    def expected(inputs, centre):
        def nearness(shift):
            value = forward(model, inputs, edits={"embed": Edit(shift=shift)}, capture=(UPPER,))[1][UPPER][0]
            return -jnp.sqrt(jnp.square(value.mean((0, 1, 2)).reshape(-1) - centre).sum())

        return jax.grad(nearness)(jnp.zeros((1, *found.shape[2:])))

    for video in range(len(clips)):
        slope = expected(clip_inputs(model, clips, video), centres[video])
        np.testing.assert_allclose(found[video], slope, atol=2e-6)


def test_pooled_rows_are_sums_over_positions(model, clips, rows, found):
    pooled = features.between(model, clips, LOWER, UPPER, rows, pool="space")
    for site in LOWER:
        np.testing.assert_allclose(pooled[site], found[site].sum((3, 4)), atol=1e-5)


def test_rows_do_not_depend_on_how_many_run_together(model, clips, rows, found):
    """Three rows, two at a time: the last has no company."""
    some = features.between(model, clips[:1], LOWER, UPPER, rows, chunk=2)
    for site in LOWER:
        np.testing.assert_allclose(some[site], found[site][:1], atol=1e-6)


def test_a_site_beside_the_upper_one_has_no_slope(model, clips, rows):
    beside = features.between(model, clips[:1], "block_1/attn/key", UPPER, rows)["block_1/attn/key"]
    assert (beside == 0).all()


@pytest.mark.parametrize(
    "lower, upper, message",
    [
        ("block_1/attn/mixed", "block_1/attn/value", "block_1/attn/mixed: not before the upper site"),
        ("block_1/attn/value", "block_1/attn/value", "block_1/attn/value: not before the upper site"),
        ("block_0/attn/kay", "block_1/attn/value", "no site 'block_0/attn/kay'; nearest names: 'block_0/attn/key'"),
        ("embed", "block_2/attn/key", "no site 'block_2/attn/key'; nearest names"),
    ],
)
def test_sites_in_the_wrong_order_and_unknown_ones_are_refused(model, clips, rows, lower, upper, message):
    with pytest.raises(InputError, match=message):
        features.between(model, clips, lower, upper, rows)


@pytest.mark.parametrize(
    "cotangents, arguments, message",
    [
        (np.zeros((3, 2, 2, 2, 2, 5)), None, r"cotangents of shape \[3, 2, 2, 2, 2, 5\] do not fit"),
        (np.zeros((2, 2, 2, 2, 4)), None, r"cotangents of shape \[2, 2, 2, 2, 4\] do not fit"),
        (np.zeros((0, 2, 2, 2, 2, 4)), None, r"cotangents of shape \[0, 2, 2, 2, 2, 4\] do not fit"),
        (np.zeros((3, 1, 2, 2, 2, 2, 4)), None, "4 clips, but cotangents of 3"),
        (np.full((1, 2, 2, 2, 2, 4), np.nan), None, "the cotangents are not all finite"),
        (np.zeros((1, 2, 2, 2, 2, 4)), np.zeros(4), "arguments belong to a function"),
        (slope_of_distance, np.zeros((3, 8)), r"4 clips, but an argument of shape \[3, 8\]"),
        (slope_of_distance, None, "the function that makes the cotangents fails"),
        (lambda value: value, None, r"cotangents of shape \[2, 2, 2, 2, 4\] do not fit"),
    ],
)
def test_cotangents_of_another_form_are_refused(model, clips, cotangents, arguments, message):
    with pytest.raises(InputError, match=message):
        features.between(model, clips, "embed", UPPER, cotangents, arguments=arguments)


def test_a_chunk_of_nothing_is_refused(model, clips, rows):
    with pytest.raises(InputError, match="chunk 0 must be at least 1"):
        features.between(model, clips, "embed", UPPER, rows, chunk=0)
