"""The attention of the CPU: tiles within their budget, and the numbers of the textbook form whatever the tiles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax.models import attention

pytestmark = pytest.mark.compile


def textbook(query, key, value, mask=None):
    logits = jnp.einsum("brhc,bthc->bhrt", query, key) / np.sqrt(query.shape[-1])
    logits = logits if mask is None else jnp.where(mask, logits, -jnp.inf)
    return jnp.einsum("bhrt,bthc->brhc", jax.nn.softmax(logits, axis=-1), value)


def tokens(count: int, *, batch: int = 1, heads: int = 2, channels: int = 8):
    return (jax.random.normal(jax.random.key(i), (batch, count, heads, channels)) for i in range(3))


@pytest.mark.parametrize("count", [3, 36, 1568, 1601])
def test_any_number_of_tokens_gives_the_textbook_result(count):
    """One group for all; several heads; runs of rows; runs of rows with padding (1601 is prime)."""
    query, key, value = tokens(count, batch=2)
    got = attention._attend_cpu(query, key, value, mask=None)
    np.testing.assert_allclose(got, textbook(query, key, value), atol=2e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("logits", [60, 500, 3 * 37 * 37])
def test_tiles_change_neither_values_nor_gradients(monkeypatch, logits, masked):
    mask = attention.causal_mask(37) if masked else None
    query, key, value = tokens(37, heads=3)
    monkeypatch.setattr(attention, "tiles", lambda *sizes, f=attention.tiles: f(*sizes, logits))

    def score(attend):
        return lambda q, k, v: jnp.sum(jnp.sin(attend(q, k, v, mask=mask)))

    got, slopes = jax.value_and_grad(score(attention._attend_cpu), (0, 1, 2))(query, key, value)
    expected, wanted = jax.value_and_grad(score(textbook), (0, 1, 2))(query, key, value)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    for slope, want in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(slope, want, atol=5e-6)


def test_large_logits_do_not_overflow():
    query, key, value = (60 * a for a in tokens(40))
    assert np.isfinite(attention._attend_cpu(query, key, value, mask=None)).all()


@pytest.mark.parametrize("slices", [1, 12, 13, 128])
@pytest.mark.parametrize("count", [1, 36, 288, 1568, 1601, 3136, 40_000])
def test_tiles_stay_within_their_budget(slices, count):
    group, rows = attention.tiles(slices, count, count, 64)
    assert slices % group == 0 and 1 <= rows <= count
    assert group == 1 or rows == count
    assert group * rows * count <= max(attention.CPU_LOGITS, count)


def test_published_sizes_need_no_padding():
    for heads in (6, 12, 16):
        assert attention.tiles(heads, 1568, 1568, 64) == (1, 784)


def test_one_query_over_many_keys_is_cross_attention():
    query, key, value = tokens(40)
    got = attention.attend(query[:, :1], key, value)
    np.testing.assert_allclose(got, textbook(query[:, :1], key, value), atol=2e-6)


def test_a_causal_mask_sees_the_past_and_as_far_ahead_as_told():
    np.testing.assert_array_equal(attention.causal_mask(3), [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(attention.causal_mask(3, ahead=1), [[1, 1, 0], [1, 1, 1], [1, 1, 1]])


@pytest.mark.parametrize("count", [36, 1601])
def test_what_is_added_to_a_keys_logits_weighs_it(count):
    """log 2 counts a key twice; minus infinity, or next to it, hides it. The same numbers on every path."""
    query, key, value = tokens(count)
    twice = jnp.zeros((1, count, 2, 1)).at[:, 0].set(jnp.log(2.0)).at[:, -1].set(-80.0)
    keys = jnp.concatenate([key[:, :1], key[:, :-1]], axis=1)
    values = jnp.concatenate([value[:, :1], value[:, :-1]], axis=1)
    expected = textbook(query, keys, values)
    for attend in (attention._attend_cpu, attention._attend):
        np.testing.assert_allclose(attend(query, key, value, twice, mask=None), expected, atol=2e-6)


def test_what_the_fused_kernel_is_given_keeps_its_values_and_slopes():
    """Also where edited keys alone differ from row to row."""
    query, key, value = tokens(5)
    keys = jnp.stack([key, 2 * key])

    def row(key, query, value):
        parts = attention._together(query, key, value)
        return sum(jnp.sum(a**2) for a in parts)

    found = jax.vmap(row, in_axes=(0, None, None))(keys, query, value)
    np.testing.assert_allclose(found, [jnp.sum(query**2) + jnp.sum(k**2) + jnp.sum(value**2) for k in keys], rtol=1e-5)
    slopes = jax.vmap(jax.grad(row, argnums=(0, 1, 2)), in_axes=(0, None, None))(keys, query, value)
    np.testing.assert_allclose(slopes[0], 2 * keys, rtol=1e-6)
    np.testing.assert_allclose(slopes[1], jnp.stack([2 * query] * 2), rtol=1e-6)


def test_masked_passes_lower_to_one_fused_kernel_a_block_on_nvidia(monkeypatch):
    """Lowered for a GPU in 16 bits, eight rows at a time, without having one. Of a clip's activations nothing is
    transposed but the pixels once and the kernel's results, whose layout the compiler chooses."""
    import re

    import jax._src.cudnn.fused_attention_stablehlo as cudnn

    from vtcd_jax.ablation.masked_pass import DeviceBatch, PassConfig, run_block
    from vtcd_jax.models import build, param_shapes
    from vtcd_jax.models.families import videomae
    from vtcd_jax.scores.functions import SCORES

    monkeypatch.setattr(attention, "has_cudnn", lambda: True)
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(cudnn, "check_compute_capability", lambda *_: True)
    sizes = {"image_size": 64, "num_frames": 4, "width": 128, "depth": 3, "num_heads": 2, "num_classes": 3}
    config = videomae.VideoMAEConfig(**sizes)
    model, shape = build(config, params=param_shapes(config)), jax.ShapeDtypeStruct
    ids = {f"block_{i}/attn/key": shape((1, *config.grid, 2, 1), np.int32) for i in range(3)}
    clip = DeviceBatch(shape((1, 4, 64, 64, 3), np.uint8), ids, {}, shape((1,), np.int32))
    config = PassConfig((("logit", SCORES["logit"]),), chunk=8, dtype="bfloat16")
    lowered = run_block.trace(config, model, clip, shape((1, 64, 30), np.float32)).lower(lowering_platforms=("cuda",))
    program = lowered.as_text()
    assert len(re.findall(r"custom_call @__cudnn\$fmhaSoftmax", program)) == 3
    assert len(re.findall(r"stablehlo\.transpose", program)) == 1 + 3
