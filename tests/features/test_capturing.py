"""Values of sites over clips are those of a forward pass, whatever is asked for beside them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import features
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import InputError, forward

pytestmark = pytest.mark.compile

SITES = ("block_1/attn/key", "block_0/resid_post", "pooled")


@pytest.fixture(scope="module")
def values(model, clips) -> dict[str, np.ndarray]:
    return features.capture(model, clips, SITES)


@pytest.fixture(scope="module")
def expected(model, clips) -> dict[str, np.ndarray]:
    passed = jax.jit(lambda inputs: forward(model, inputs, capture=SITES)[1])
    rows = [passed(clip_inputs(model, clips, i)) for i in range(len(clips))]
    return {site: np.stack([np.asarray(row[site][0]) for row in rows]) for site in SITES}


def test_captured_values_are_those_of_the_forward_pass(values, expected):
    assert tuple(values) == SITES  # in the order asked for
    assert values["block_1/attn/key"].shape == (4, 2, 2, 2, 2, 4) and values["pooled"].shape == (4, 8)
    for site in SITES:
        assert values[site].dtype == np.float32
        np.testing.assert_allclose(values[site], expected[site], atol=1e-6)


def test_a_string_is_one_site(model, clips, values):
    alone = features.capture(model, clips, "block_1/attn/key")
    assert tuple(alone) == ("block_1/attn/key",)
    np.testing.assert_allclose(alone["block_1/attn/key"], values["block_1/attn/key"], atol=1e-6)


@pytest.mark.parametrize("pool, axes", [("space", (2, 3)), ("all", (1, 2, 3))])
def test_pooled_values_are_means_over_positions(model, clips, values, pool, axes):
    pooled = features.capture(model, clips, SITES, pool=pool)
    for site in SITES[:2]:
        np.testing.assert_allclose(pooled[site], values[site].mean(axes), atol=1e-6)
    np.testing.assert_allclose(pooled["pooled"], values["pooled"], atol=1e-6)


def test_bfloat16_values_are_close_and_half_as_large(model, clips, values):
    half = features.capture(model, clips, SITES[0], dtype="bfloat16")[SITES[0]]
    assert half.dtype == jnp.bfloat16 and half.nbytes * 2 == values[SITES[0]].nbytes
    np.testing.assert_allclose(half.astype(np.float32), values[SITES[0]], atol=0.05)
    assert not (half.astype(np.float32) == values[SITES[0]]).all()
    assert features.capture(model, clips, SITES[0], dtype="bfloat16", pool="all")[SITES[0]].dtype == np.float32


def test_a_clips_values_do_not_depend_on_its_company(model, clips, values):
    some = features.capture(model, clips[[2, 0]], SITES)
    for site in SITES:
        np.testing.assert_array_equal(some[site], values[site][[2, 0]])


def test_blocks_come_one_clip_at_a_time_in_order(model, clips, values):
    blocks = list(features.capture_blocks(model, clips, SITES))
    assert [block.video for block in blocks] == [0, 1, 2, 3]
    for block in blocks:
        np.testing.assert_array_equal(block.values["pooled"], values["pooled"][block.video])


@pytest.mark.parametrize(
    "sites, message",
    [
        ("block_1/attn/keys", "no site 'block_1/attn/keys'; nearest names: 'block_1/attn/key'"),
        ((), "no sites given"),
        (("pooled", "pooled"), "sites repeat: pooled, pooled"),
    ],
)
def test_sites_that_the_network_lacks_are_refused_with_the_nearest(model, clips, sites, message):
    with pytest.raises(InputError, match=message):
        features.capture(model, clips, sites)


def test_other_bad_input_gets_one_line(model, clips):
    with pytest.raises(InputError, match="unknown pool 'time'; known: None, 'space', 'all'"):
        features.capture(model, clips, "pooled", pool="time")
    with pytest.raises(InputError, match="unknown dtype 'float16'; known: float32, bfloat16"):
        features.capture(model, clips, "pooled", dtype="float16")
    with pytest.raises(InputError, match="no clips given"):
        features.capture(model, clips[:0], "pooled")
    short = dataclasses.replace(clips, video=clips.video[:, :2])
    with pytest.raises(InputError, match=r"clips of \[2, 16, 16\] .* takes \[4, 16, 16\]"):
        features.capture(model, short, "pooled")


def test_values_that_are_not_finite_are_refused_with_clip_and_site(model, clips):
    params = dict(model.params, block_1=_nan(model.params["block_1"]))
    with pytest.raises(InputError, match="clip clip 0, site block_1/attn/key: features are not finite"):
        features.capture(model.replace(params=params), clips, SITES)


def _nan(tree):
    return {k: _nan(v) for k, v in tree.items()} if isinstance(tree, dict) else np.full(tree.shape, np.nan, np.float32)
