"""What every network promises: taps, edits, shapes, gradients. New families join ``NETWORKS``."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models import Edit, Inputs, Model, family_of, sites

from .networks import NETWORKS, inputs_of, result

pytestmark = pytest.mark.compile

forward = jax.jit(models.forward, static_argnames="capture")


@pytest.fixture(params=sorted(NETWORKS))
def model(request) -> Model:
    return random_model(request.param)


@cache
def random_model(name: str) -> Model:
    """Every parameter is random: a network that starts with zeros somewhere would hide what lies behind them."""
    model = models.build(NETWORKS[name], key=jax.random.key(1))
    rng = np.random.default_rng(2)
    noisy = jax.tree.map(lambda a: a + 0.1 * rng.standard_normal(a.shape).astype(a.dtype), model.params)
    return dataclasses.replace(model, params=jax.tree.map(jnp.asarray, noisy))


def assert_close(got, expected) -> None:
    """Equal but for rounding: 2e-6 of the largest magnitude."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * max(1.0, np.abs(expected).max()))


def keys_of(model: Model) -> str:
    """The keys of the first block."""
    return next(s for s in sites(model) if s.endswith("attn/key") and "text/" not in s)


def test_an_identity_edit_changes_no_bit(model):
    """Un-jitted: a compiler may fuse the edit's multiply-add with what stands around it, and round otherwise."""
    plain, _ = models.forward(model, inputs_of(model))
    edited, _ = models.forward(model, inputs_of(model), edits={site: Edit() for site in sites(model)})
    for field, value in vars(plain).items():
        if value is not None:
            np.testing.assert_array_equal(vars(edited)[field], value, err_msg=field)


def test_every_site_is_captured_in_its_documented_shape(model):
    """Per-head sites are [batch, time, height, width, head, channel], special tokens lie in a site beside them."""
    shapes = sites(model)
    _, seen = forward(model, inputs_of(model), capture=tuple(shapes))
    t, h, w = model.config.grid
    text = len(inputs_of(model).text) if "text" in family_of(model).needs else 0
    for site, shape in shapes.items():
        got = (1, *seen[site].shape[1:]) if site.startswith("text/") else seen[site].shape
        assert got == shape.shape, site
        in_text = site.startswith("text/")
        if in_text:
            assert len(seen[site]) == text
        on_grid = (model.config.context_length, 1, 1) if in_text else (t, h, w)
        if re.search(r"attn/(query|key|value|mixed)$", site):
            assert shape.shape[:4] == (1, *on_grid) and len(shape.shape) == 6, site
        if re.search(r"(resid_pre|resid_mid|resid_post|attn/out|mlp/out|embed)$", site):
            assert shape.shape[:4] == (1, *on_grid) and len(shape.shape) == 5, site
        if site.endswith("_cls"):
            assert shape.shape[1] in (1, t) and shape.shape[2] == 1, site


def test_special_tokens_have_sites_beside_the_grid(model):
    """A network with a class token shows it wherever it shows the positions of its stream."""
    every = sites(model)
    if "block_0/resid_pre_cls" in every:
        for part in ("resid_pre", "resid_mid", "mlp/out", "resid_post"):
            assert f"block_1/{part}_cls" in every
    else:
        assert not any(site.endswith("_cls") for site in every)


def test_positions_are_in_time_height_width_order(model):
    """A patch of pixels changes the embedding at its own place alone."""
    site = next(s for s in sites(model) if s.endswith("embed") and not s.startswith(("text/", "decoder/")))
    inputs = inputs_of(model)
    t, h, w = model.config.grid
    frames, height, width = (n // m for n, m in zip(inputs.video.shape[1:4], (t, h, w), strict=True))
    place = (t - 1, 0, w - 1)
    box = tuple(slice(i * n, (i + 1) * n) for i, n in zip(place, (frames, height, width), strict=True))
    changed = dataclasses.replace(inputs, video=inputs.video.at[(0, *box)].add(1.0))
    before, after = (forward(model, x, capture=(site,))[1][site] for x in (inputs, changed))
    moved = np.abs(np.asarray(after - before)).max(-1)[0] > 0
    assert moved[place] and moved.sum() == 1


def test_what_the_attentions_add_is_the_step_of_the_stream(model):
    """``resid_pre`` + every attention's ``out`` = ``resid_mid``, + ``mlp/out`` = ``resid_post``; class tokens too."""
    every = sites(model)
    _, seen = forward(model, inputs_of(model), capture=tuple(every))
    steps = {site.removesuffix("resid_pre") for site in every if site.endswith("resid_pre")}
    assert steps
    for block in steps:
        for kind in ("", "_cls"):
            if f"{block}resid_pre{kind}" not in every:
                continue
            added = [seen[s] for s in every if re.fullmatch(rf"{block}(time_|space_)?attn/out{kind}", s)]
            middle = sum(added, seen[f"{block}resid_pre{kind}"])
            np.testing.assert_allclose(middle, seen[f"{block}resid_mid{kind}"], atol=2e-6, err_msg=block + kind)
            end = seen[f"{block}resid_mid{kind}"] + seen[f"{block}mlp/out{kind}"]
            np.testing.assert_allclose(end, seen[f"{block}resid_post{kind}"], atol=2e-6, err_msg=block + kind)


def test_a_captured_value_is_the_edited_one_and_carries_on(model):
    site = keys_of(model).replace("key", "value")
    output, seen = forward(model, inputs_of(model), edits={site: Edit(scale=0.0, shift=0.25)}, capture=(site,))
    np.testing.assert_array_equal(seen[site], np.full_like(seen[site], 0.25))
    assert not np.array_equal(result(output), result(forward(model, inputs_of(model))[0]))


def test_one_trace_serves_all_masks(model):
    site = keys_of(model)

    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def masked(model: Model, inputs: Inputs, scale):
        return result(models.forward(model, inputs, edits={site: Edit(scale=scale)})[0])

    shape = (*sites(model)[site].shape[:-1], 1)
    for seed in range(3):
        masked(model, inputs_of(model, seed=seed), np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32))


def test_vmapped_edits_equal_a_loop(model):
    site = keys_of(model)
    scales = np.random.default_rng(0).integers(0, 2, (3, *sites(model)[site].shape[:-1], 1)).astype(np.float32)

    def run(scale):
        return result(forward(model, inputs_of(model), edits={site: Edit(scale=scale)})[0])

    assert_close(jax.vmap(run)(scales), np.stack([run(s) for s in scales]))


def test_a_batch_equals_its_clips_one_by_one(model):
    inputs = inputs_of(model, batch=3)

    def one(i: int) -> Inputs:
        query = None if inputs.query is None else inputs.query[i : i + 1]
        return dataclasses.replace(inputs, video=inputs.video[i : i + 1], query=query)

    together = result(forward(model, inputs)[0])
    alone = np.concatenate([result(forward(model, one(i))[0]) for i in range(3)])
    assert_close(together, alone)


def test_gradients_are_finite_at_every_site_and_reach_the_first_block(model):
    shapes = {s: v.shape for s, v in sites(model).items()}
    prefix = keys_of(model).split("block_0")[0] + "block_0/"

    def score(shifts):
        edits = {site: Edit(shift=shift) for site, shift in shifts.items()}
        return jnp.square(result(forward(model, inputs_of(model), edits=edits)[0])).sum()

    slopes = jax.jit(jax.grad(score))({site: jnp.zeros((1, *shape[1:])) for site, shape in shapes.items()})
    for site, slope in slopes.items():
        assert np.isfinite(slope).all(), site
        if site.startswith(prefix):  # what is added last to some streams is read by nothing
            assert np.abs(slope).max() > 0, site


def test_bfloat16_stays_finite_and_close(model):
    exact = np.asarray(result(forward(model, inputs_of(model))[0]))
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), model)
    rough = np.asarray(result(forward(half, inputs_of(model, dtype=jnp.bfloat16))[0]), np.float32)
    assert np.isfinite(rough).all()
    assert np.abs(rough - exact).max() <= 0.08 * np.abs(exact).max()


def test_an_unknown_site_fails_with_the_nearest_names(model):
    message = r"no tap site 'blok_0/attn/key'; nearest names: .*block_0/(space_|time_)?attn/key"
    with pytest.raises(ValueError, match=message):
        models.forward(model, inputs_of(model), capture=("blok_0/attn/key",))
    with pytest.raises(ValueError, match="nearest names"):
        jax.eval_shape(lambda m: forward(m, inputs_of(m), edits={"nowhere": Edit()})[0], model)


def test_an_edit_that_does_not_fit_is_named(model):
    site = keys_of(model)
    with pytest.raises(ValueError, match=f"does not broadcast to site '{site}'"):
        forward(model, inputs_of(model), edits={site: Edit(scale=np.ones((7, 7)))})


def test_a_video_of_another_size_is_refused(model):
    with pytest.raises(ValueError, match="this model takes"):
        inputs = inputs_of(model)
        forward(model, dataclasses.replace(inputs, video=inputs.video[:, :, :8]))


def test_removing_a_head_equals_zeroing_its_values(model):
    """With zero values the head adds nothing, whatever its queries and keys are."""
    prefix = keys_of(model)[: -len("key")]
    scale = np.ones((1, 1, 1, 1, 2, 1), np.float32)
    scale[..., 1, :] = 0
    scales = {"": scale, "_cls": scale[:, 0]} if f"{prefix}value_cls" in sites(model) else {"": scale}
    edits = {f"{prefix}value{kind}": Edit(scale=s) for kind, s in scales.items()}
    values, _ = forward(model, inputs_of(model), edits=edits)
    parts = ("query", "key", "value")
    every = {f"{prefix}{part}{kind}": Edit(scale=s) for part in parts for kind, s in scales.items()}
    np.testing.assert_allclose(result(forward(model, inputs_of(model), edits=every)[0]), result(values), atol=1e-6)
