"""Published layouts become the same parameters."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from vtcd_jax import models
from vtcd_jax.models import InputError

from .tools import NAMES, assert_same, convert_only, params, settings, source
from .torch_writer import bfloat16, read_plain_safetensors, write_torch


def original_to_hub(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The original's names -> Hugging Face's, written for this test from the two code bases."""
    pairs = (
        ("encoder.norm.", "videomae.layernorm."), ("encoder.patch_embed.", "patch_embed."),
        ("encoder.blocks.", "blocks."),
        ("patch_embed.proj.", "videomae.embeddings.patch_embeddings.projection."),
        ("decoder.blocks.", "decoder.decoder_layers."), (".norm1.", ".layernorm_before."),
        (".norm2.", ".layernorm_after."),
        (".attn.proj.", ".attention.output.dense."), (".mlp.fc1.", ".intermediate.dense."),
        (".mlp.fc2.", ".output.dense."),
        (".attn.q_bias", ".attention.attention.q_bias"), (".attn.v_bias", ".attention.attention.v_bias"),
    )  # fmt: skip
    hub: dict[str, np.ndarray] = {}
    for name, value in state.items():
        for old, new in pairs:
            name = name.replace(old, new)
        name = "videomae.encoder.layer." + name[7:] if name.startswith("blocks.") else name
        name = name.replace("head.", "classifier.") if name.startswith("head.") else name
        if name.endswith(".attn.qkv.weight"):
            for part, rows in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                hub[name.replace("attn.qkv", f"attention.attention.{part}")] = rows.copy()
        else:
            hub[name] = value
    return hub


def memory_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.replace("q_bias", "query.bias").replace("v_bias", "value.bias"): v for k, v in state.items()}


@pytest.mark.parametrize("name", NAMES)
def test_both_containers_give_the_same_parameters(golden, tmp_path, name):
    config = settings(golden, name)
    report = convert_only(source(golden, name), tmp_path / "a", config=config)
    state = read_plain_safetensors(source(golden, name))
    pth = write_torch(tmp_path / "x.pth", {"model": state, "epoch": 3, "optimizer": {"step": 1}})
    convert_only(pth, tmp_path / "b", config=config)
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))
    model = models.load(tmp_path / "a")
    assert model.config == report.config and report.out == tmp_path / "a"
    assert (
        report.parameters == sum(v.size for v in state.values()) == sum(v.size for v in params(tmp_path / "a").values())
    )
    told = json.loads(config.read_text())
    told = told.get("config", told)
    assert model.config.num_heads == told["num_heads" if "num_heads" in told else "num_attention_heads"]
    assert {row.source for row in report.rows} == set(state)


def test_kernels_are_transposed_split_and_reordered(golden, tmp_path):
    convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"))
    state, ours = read_plain_safetensors(source(golden, "videomae_ft")), params(tmp_path / "m")
    fused = state["blocks.1.attn.qkv.weight"]
    for i, part in enumerate(("query", "key", "value")):
        np.testing.assert_array_equal(ours[f"block_1/attn/{part}/kernel"], fused[48 * i : 48 * (i + 1)].T)
    kernel = state["patch_embed.proj.weight"]
    assert ours["patch_embed/kernel"][1, 2, 3, 0, 5] == kernel[5, 0, 1, 2, 3]
    np.testing.assert_array_equal(ours["block_2/mlp/fc_1/kernel"], state["blocks.2.mlp.fc1.weight"].T)
    np.testing.assert_array_equal(ours["block_0/attn/value/bias"], state["blocks.0.attn.v_bias"])
    assert all(value.dtype == np.float32 for value in ours.values())


@pytest.mark.parametrize("name", ["videomae_ft", "videomae_pretrain"])
def test_original_and_hub_names_give_the_same_parameters(golden, tmp_path, name):
    state = read_plain_safetensors(source(golden, name))
    config = json.loads(settings(golden, name).read_text())
    convert_only(source(golden, name), tmp_path / "a", config=config)
    for i, hub in enumerate((original_to_hub(state), memory_names(original_to_hub(state)))):
        save_file(hub, tmp_path / "hub.safetensors")
        report = convert_only(tmp_path / "hub.safetensors", tmp_path / f"hub{i}", config=config)
        assert report.layout == "Hugging Face names"
        assert_same(params(tmp_path / "a"), params(tmp_path / f"hub{i}"))


@pytest.mark.parametrize(("store", "tolerance"), [(lambda v: v.astype(np.float16), 2**-11), (bfloat16, 2**-7)])
def test_half_precision_becomes_float32(golden, tmp_path, store, tolerance):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    path = write_torch(tmp_path / "x.pth", {"module": {k: store(v) for k, v in state.items()}})
    convert_only(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    got = params(tmp_path / "m")["head/kernel"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, state["head.weight"].T, rtol=tolerance, atol=1e-7)


def test_repeated_qkv_bias_is_verified(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    for i in range(3):
        q, v = state[f"blocks.{i}.attn.q_bias"], state[f"blocks.{i}.attn.v_bias"]
        state[f"blocks.{i}.attn.qkv.bias"] = np.concatenate([q, np.zeros_like(q), v])
    config = settings(golden, "videomae_ft")
    report = convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=config)
    assert "verified" in report.ignored["blocks.2.attn.qkv.bias"]
    state["blocks.1.attn.qkv.bias"] = state["blocks.1.attn.qkv.bias"] + np.float32(1e-3)
    with pytest.raises(InputError, match=r"blocks.1.attn.qkv.bias is not \[q_bias, any key bias, v_bias\]") as error:
        convert_only(write_torch(tmp_path / "y.pth", state), tmp_path / "n", config=config)
    assert "blocks.2.attn.qkv.bias" not in str(error.value)


def test_stored_position_table_is_verified(golden, tmp_path):
    from vtcd_jax.models.layers import sine_cosine_table

    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["pos_embed"] = sine_cosine_table(64, 48)[None]
    config = settings(golden, "videomae_ft")
    assert "pos_embed" in convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=config).ignored
    state["pos_embed"] = state["pos_embed"] + np.float32(0.1)
    with pytest.raises(InputError, match="pos_embed is not the fixed sine-cosine table"):
        convert_only(write_torch(tmp_path / "y.pth", state), tmp_path / "n", config=config)
