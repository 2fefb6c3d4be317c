"""What every network promises: taps, edits, shapes, gradients. New families join ``NETWORKS``."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models import Edit, Inputs, Model, sites, videomae

forward = jax.jit(models.forward, static_argnames="capture")
SMALL = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 24, "depth": 2, "num_heads": 2}
NETWORKS = {
    "videomae-classifier": videomae.VideoMAEConfig(num_classes=5, **SMALL),
    "videomae-pretrain": videomae.VideoMAEPretrainConfig(
        decoder_width=16, decoder_depth=1, decoder_num_heads=2, mask_ratio=0.5, **SMALL
    ),
}


@pytest.fixture(params=sorted(NETWORKS))
def model(request) -> Model:
    return models.build(NETWORKS[request.param], key=jax.random.key(1))


def video(model: Model, batch: int = 1, seed: int = 0) -> np.ndarray:
    p = model.preprocessing
    return np.random.default_rng(seed).normal(size=(batch, p.num_frames, p.height, p.width, 3)).astype(np.float32)


def result(output) -> jax.Array:
    return output.logits if output.logits is not None else output.patches


def test_an_identity_edit_changes_no_bit(model):
    plain, _ = models.forward(model, Inputs(video(model)))
    edited, _ = models.forward(model, Inputs(video(model)), edits={site: Edit() for site in sites(model)})
    np.testing.assert_array_equal(result(edited), result(plain))


def test_every_site_is_captured_in_its_documented_shape(model):
    shapes = sites(model)
    _, seen = forward(model, Inputs(video(model)), capture=tuple(shapes))
    assert {s: v.shape for s, v in seen.items()} == {s: v.shape for s, v in shapes.items()}
    t, h, w = model.config.grid
    for site, shape in shapes.items():
        if "attn/" in site and not site.endswith("out"):
            assert shape.shape[:4] == (1, t, h, w) and len(shape.shape) == 6, site


def test_what_the_attention_adds_is_the_step_of_the_stream(model):
    blocks = sorted({site.split("/attn")[0] for site in sites(model) if "/attn/out" in site})
    wanted = [f"{b}/{part}" for b in blocks for part in ("resid_pre", "attn/out", "resid_mid", "mlp/out", "resid_post")]
    _, seen = forward(model, Inputs(video(model)), capture=tuple(wanted))
    for b in blocks:
        np.testing.assert_allclose(seen[f"{b}/resid_pre"] + seen[f"{b}/attn/out"], seen[f"{b}/resid_mid"], atol=1e-6)
        np.testing.assert_allclose(seen[f"{b}/resid_mid"] + seen[f"{b}/mlp/out"], seen[f"{b}/resid_post"], atol=1e-6)


def test_a_captured_value_is_the_edited_one_and_carries_on(model):
    site = next(s for s in sites(model) if s.endswith("attn/value"))
    output, seen = forward(model, Inputs(video(model)), edits={site: Edit(scale=0.0, shift=0.25)}, capture=(site,))
    np.testing.assert_array_equal(seen[site], np.full_like(seen[site], 0.25))
    assert not np.array_equal(result(output), result(forward(model, Inputs(video(model)))[0]))


def test_one_trace_serves_all_masks(model):
    site = next(s for s in sites(model) if s.endswith("attn/key"))

    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def masked(model: Model, x, scale):
        return result(forward(model, Inputs(x), edits={site: Edit(scale=scale)})[0])

    shape = (*sites(model)[site].shape[:-1], 1)
    for seed in range(3):
        masked(model, video(model), np.random.default_rng(seed).integers(0, 2, shape).astype(np.float32))


def test_vmapped_edits_equal_a_loop(model):
    site = next(s for s in sites(model) if s.endswith("attn/key"))
    scales = np.random.default_rng(0).integers(0, 2, (3, *sites(model)[site].shape[:-1], 1)).astype(np.float32)

    def run(scale):
        return result(forward(model, Inputs(video(model)), edits={site: Edit(scale=scale)})[0])

    np.testing.assert_allclose(jax.vmap(run)(scales), np.stack([run(s) for s in scales]), atol=2e-6)


def test_a_batch_equals_its_clips_one_by_one(model):
    clips = video(model, 3)
    together = result(forward(model, Inputs(clips))[0])
    alone = np.concatenate([result(forward(model, Inputs(clips[i : i + 1]))[0]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_gradients_reach_every_site_and_are_finite(model):
    shapes = {s: v.shape for s, v in sites(model).items()}

    def score(shifts):
        edits = {site: Edit(shift=shift) for site, shift in shifts.items()}
        return jnp.square(result(forward(model, Inputs(video(model)), edits=edits)[0])).sum()

    slopes = jax.jit(jax.grad(score))({site: jnp.zeros(shape) for site, shape in shapes.items()})
    for site, slope in slopes.items():
        assert np.isfinite(slope).all(), site
        if "key" not in site:  # a key's gradient can vanish where the attention is flat
            assert np.abs(slope).max() > 0, site


def test_bfloat16_stays_finite_and_close(model):
    exact = np.asarray(result(forward(model, Inputs(video(model)))[0]))
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), model)
    rough = np.asarray(result(forward(half, Inputs(jnp.asarray(video(model), jnp.bfloat16)))[0]), np.float32)
    assert np.isfinite(rough).all()
    assert np.abs(rough - exact).max() <= 0.05 * np.abs(exact).max()


def test_an_unknown_site_fails_with_the_nearest_names(model):
    with pytest.raises(ValueError, match=r"no tap site 'blok_0/attn/key'; nearest names: .*block_0/attn/key"):
        models.forward(model, Inputs(video(model)), capture=("blok_0/attn/key",))
    with pytest.raises(ValueError, match="nearest names"):
        jax.eval_shape(lambda m: forward(m, Inputs(video(m)), edits={"nowhere": Edit()})[0], model)


def test_an_edit_that_does_not_fit_is_named(model):
    site = next(s for s in sites(model) if s.endswith("attn/key"))
    with pytest.raises(ValueError, match=f"does not broadcast to site '{site}'"):
        forward(model, Inputs(video(model)), edits={site: Edit(scale=np.ones((7, 7)))})


def test_a_video_of_another_size_is_refused(model):
    with pytest.raises(ValueError, match="this model takes"):
        forward(model, Inputs(video(model)[:, :2]))


def test_removing_a_head_equals_zeroing_its_values(model):
    """With zero values the head adds nothing, whatever its queries and keys are."""
    prefix = next(s for s in sites(model) if s.endswith("attn/key"))[: -len("key")]
    scale = np.ones((1, 1, 1, 1, 2, 1), np.float32)
    scale[..., 1, :] = 0
    values, _ = forward(model, Inputs(video(model)), edits={f"{prefix}value": Edit(scale=scale)})
    every = {f"{prefix}{kind}": Edit(scale=scale) for kind in ("query", "key", "value")}
    np.testing.assert_allclose(result(forward(model, Inputs(video(model)), edits=every)[0]), result(values), atol=1e-6)


def test_long_clips_attend_in_chunks_with_the_same_result():
    from vtcd_jax.models import attention

    q, k, v = (jax.random.normal(jax.random.key(i), (2, 301, 3, 8)) for i in range(3))
    chunked = attention.attend(q, k, v)
    plain = jax.nn.dot_product_attention(q, k, v)
    np.testing.assert_allclose(chunked, plain, atol=2e-6)
    slope = jax.grad(lambda q: jnp.sum(attention.attend(q, k, v) ** 2))(q)
    expected = jax.grad(lambda q: jnp.sum(jax.nn.dot_product_attention(q, k, v) ** 2))(q)
    np.testing.assert_allclose(slope, expected, atol=2e-5)


@pytest.mark.parametrize("size", videomae.SIZES)
def test_published_sizes_build_by_shape_alone(size):
    """No memory, no arithmetic: parameters and outputs of ViT-S, B, L and H."""
    config = videomae.classifier_config(size)
    shapes = models.param_shapes(config)
    model = models.build(config, params=shapes)
    output, _ = jax.eval_shape(forward, model, models.example_inputs(model))
    assert output.logits.shape == (1, 174)
    assert len(jax.tree.leaves(shapes)) == 6 + 15 * config.depth
    assert models.sites(model)[f"block_{config.depth - 1}/attn/key"].shape == (
        1,
        8,
        14,
        14,
        config.num_heads,
        64,
    )[:5] + (config.width // config.num_heads,)


def test_size_b_has_the_published_number_of_parameters():
    for config, millions in ((videomae.classifier_config("B"), 86.4), (videomae.pretrain_config("B"), 94.2)):
        count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(models.param_shapes(config)))
        assert round(count / 1e6, 1) == millions


def test_a_traced_tube_mask_equals_a_concrete_one():
    model = models.build(NETWORKS["videomae-pretrain"])
    mask = np.broadcast_to(np.array([[True, False], [False, True]]), (1, *model.config.grid))

    def run(mask):
        return models.forward(model, Inputs(video(model), token_mask=mask))[0].patches

    np.testing.assert_allclose(np.asarray(jax.jit(run)(mask)), np.asarray(run(mask)), atol=2e-6)
    uneven = mask.copy()
    uneven[0, 0] = False
    with pytest.raises(ValueError, match="tube mask"):
        run(uneven)
