"""CLIP's checkpoints, in the original's names and in Hugging Face's, become the same parameters."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.converters.tools import assert_same, convert_only, params, settings, source
from vtcd_jax.models import InputError
from vtcd_jax.models.families.clip import CLIPConfig

CONFIG = {"num_heads": 3, "text_num_heads": 2}
BLOCK = {
    "ln_1": "layer_norm1", "attn.out_proj": "self_attn.out_proj", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}  # fmt: skip


def original(hub: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A state dict in Hugging Face's names -> in the original's."""
    vision, text = "vision_model.", "text_model."
    found = {
        "visual.conv1.weight": hub[vision + "embeddings.patch_embedding.weight"],
        "visual.class_embedding": hub[vision + "embeddings.class_embedding"],
        "visual.positional_embedding": hub[vision + "embeddings.position_embedding.weight"],
        "visual.proj": hub["visual_projection.weight"].T,
        "positional_embedding": hub[text + "embeddings.position_embedding.weight"],
        "token_embedding.weight": hub[text + "embeddings.token_embedding.weight"],
        "text_projection": hub["text_projection.weight"].T,
        "logit_scale": hub["logit_scale"],
    }
    for end in ("weight", "bias"):
        found[f"visual.ln_pre.{end}"] = hub[f"{vision}pre_layrnorm.{end}"]
        found[f"visual.ln_post.{end}"] = hub[f"{vision}post_layernorm.{end}"]
        found[f"ln_final.{end}"] = hub[f"{text}final_layer_norm.{end}"]
        for tower, prefix, depth in ((vision, "visual.", 3), (text, "", 2)):
            for i in range(depth):
                theirs, ours = f"{tower}encoder.layers.{i}.", f"{prefix}transformer.resblocks.{i}."
                found |= {f"{ours}{a}.{end}": hub[f"{theirs}{b}.{end}"] for a, b in BLOCK.items()}
                parts = [hub[f"{theirs}self_attn.{part}_proj.{end}"] for part in "qkv"]
                found[f"{ours}attn.in_proj_{end}"] = np.concatenate(parts)
    return {name: np.ascontiguousarray(value) if value.ndim else value for name, value in found.items()}


@pytest.fixture
def hub(golden) -> dict[str, np.ndarray]:
    return load_file(source(golden, "hf_clip"))


def test_both_layouts_give_the_same_parameters(golden, hub, tmp_path):
    save_file(original(hub), tmp_path / "x.safetensors")
    report = convert_only(tmp_path / "x.safetensors", tmp_path / "a", config=CONFIG)
    assert (report.family, report.layout) == ("clip", "original CLIP names")
    report = convert_only(source(golden, "hf_clip"), tmp_path / "b", config=settings(golden, "hf_clip"))
    assert (report.family, report.layout) == ("clip", "Hugging Face names")
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))


def test_a_hub_folder_tells_everything_by_its_config(golden, hub, tmp_path):
    """As older files write it: with buffers, and with 2 for the end token of CLIP's own vocabulary."""
    folder = tmp_path / "hub"
    folder.mkdir()
    buffers = {
        "text_model.embeddings.position_ids": np.arange(12)[None],
        "vision_model.embeddings.position_ids": np.arange(17)[None],
    }
    save_file(hub | buffers, folder / "model.safetensors")
    told = json.loads(settings(golden, "hf_clip").read_text())["config"]
    told["text_config"] |= {"hidden_act": "gelu", "num_beams": 1, "dropout": 0.0}
    told["vision_config"] |= {"hidden_act": "gelu", "top_k": 50}
    (folder / "config.json").write_text(json.dumps(told | {"model_type": "clip", "logit_scale_init_value": 2.6}))
    report = convert_only(folder, tmp_path / "out")
    assert report.config == CLIPConfig(
        embed_dim=24, context_length=12, vocab_size=64, end_token=63, text_width=40, text_depth=2, text_num_heads=2,
        text_mlp_ratio=2.0, activation="gelu", image_size=32, patch_size=8, width=48, depth=3, num_heads=3,
        mlp_ratio=2.0,
    )  # fmt: skip
    assert all(name in report.ignored for name in buffers)
    told["text_config"]["eos_token_id"] = 2
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match="end_token = 49407 is none of the 64 ids"):
        convert_only(folder, tmp_path / "other")


def test_what_the_tensors_do_not_tell_is_assumed_and_said(golden, tmp_path):
    report = convert_only(source(golden, "hf_clip"), tmp_path / "out", config=CONFIG)
    said = " ".join(report.assumed)
    for name in ("end_token = 63", "norm_eps = 1e-05", "num_frames = 1", "activation = quick_gelu"):
        assert name in said


def test_another_image_size_resizes_the_grid_and_keeps_the_class_position(golden, hub, tmp_path):
    convert_only(source(golden, "hf_clip"), tmp_path / "out", config=CONFIG | {"image_size": 48})
    table = params(tmp_path / "out")["embedding/positions"]
    stored = hub["vision_model.embeddings.position_embedding.weight"]
    assert table.shape == (37, 48)
    np.testing.assert_array_equal(table[0], stored[0])
    np.testing.assert_allclose(table[1:].mean(0), stored[1:].mean(0), atol=0.2 * np.abs(stored).max())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_heads": 3}, "do not tell text_num_heads"),
        (CONFIG | {"text_num_heads": 3}, "text_width = 40 is no multiple of text_num_heads = 3"),
        (CONFIG | {"activation": "relu"}, "activation = 'relu' is not supported"),
        (CONFIG | {"end_token": 64}, "end_token = 64 is none of the 64 ids"),
        (CONFIG | {"text_depth": 3}, "says text_depth = 3, the tensors say 2"),
    ],
)
def test_settings_that_do_not_fit_are_named(golden, tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        convert_only(source(golden, "hf_clip"), tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


def test_a_missing_tensor_is_named_as_the_source_would_name_it(hub, tmp_path):
    state = original(hub)
    del state["transformer.resblocks.1.attn.in_proj_bias"]
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"missing tensor transformer\.resblocks\.1\.attn\.in_proj_bias"):
        convert_only(tmp_path / "x.safetensors", tmp_path / "out", config=CONFIG)


def test_positions_of_no_square_grid_are_refused(hub, tmp_path):
    state = original(hub)
    state["visual.positional_embedding"] = np.ones((16, 48), np.float32)
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="expected a class token's and a square grid"):
        convert_only(tmp_path / "x.safetensors", tmp_path / "out", config=CONFIG)
