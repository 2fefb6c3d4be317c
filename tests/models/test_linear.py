"""Linear layers: rows in runs, and what 16 bits cost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax.models.layers import Mlp, activate
from vtcd_jax.models.linear import affine, in_runs

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def operands() -> list[jax.Array]:
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(k, shape) for k, shape in zip(keys, [(40, 256), (256, 24), (24,)], strict=True)]


@pytest.mark.parametrize("biased", [True, False])
def test_sixteen_bit_products_are_summed_in_float32_and_rounded_once(operands, biased):
    rows, kernel, bias = (a.astype(jnp.bfloat16) for a in operands)
    found = jax.jit(affine)(rows, (kernel, bias if biased else None))
    exact = rows.astype(jnp.float32) @ kernel.astype(jnp.float32) + (bias.astype(jnp.float32) if biased else 0.0)
    assert found.dtype == jnp.bfloat16
    gap = np.abs(np.asarray(found, np.float32) - np.asarray(exact))
    assert (gap <= 2.0**-8 * np.abs(exact) + 1e-6).all()  # half a unit in the last place


def test_on_accelerators_products_keep_sixteen_bits(operands):
    """Wide results would be twice the bytes."""
    rows, kernel, bias = (a.astype(jnp.bfloat16) for a in operands)
    traced = jax.jit(affine).trace(rows, (kernel, bias))
    results = {
        platform: next(
            line.split("->")[-1]
            for line in traced.lower(lowering_platforms=(platform,)).as_text().splitlines()
            if "dot_general" in line
        )
        for platform in ("cpu", "cuda", "tpu")
    }
    assert "f32" in results["cpu"].replace("bf16", "")
    assert "bf16" in results["cuda"] and "bf16" in results["tpu"]


def test_sixteen_bit_layers_have_gradients(operands):
    rows, kernel, bias = operands
    exact = jax.grad(lambda a: affine(a, (kernel, bias)).sum())(rows)
    half = jax.grad(lambda a: affine(a, (kernel.astype(a.dtype), bias.astype(a.dtype))).astype(jnp.float32).sum())
    found = half(rows.astype(jnp.bfloat16))
    np.testing.assert_allclose(np.asarray(found, np.float32), exact, atol=0.02 * np.abs(exact).max())


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_sixteen_bit_activations_are_rounded_once(activation):
    x = jnp.linspace(-6, 6, 4001).astype(jnp.bfloat16)
    exact = np.asarray(activate(x.astype(jnp.float32), activation))
    found = activate(x, activation)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found, np.float32), exact.astype(jnp.bfloat16).astype(np.float32))


def test_runs_of_rows_change_nothing():
    """2,003 rows: no run divides them, so the last one is padded."""
    x = jax.random.normal(jax.random.key(1), (2003, 8))
    mlp = Mlp(16)
    params = mlp.init(jax.random.key(2), x[:3])
    whole = np.concatenate([np.asarray(mlp.apply(params, part)) for part in (x[:1500], x[1500:])])
    np.testing.assert_allclose(np.asarray(mlp.apply(params, x)), whole, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(in_runs(lambda rows: rows * 2, x)), np.asarray(x) * 2)
