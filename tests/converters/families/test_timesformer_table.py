"""TimeSformer and TCOW checkpoints: published layouts, their settings, and what is resized or refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.converters.torch_writer import Namespace, write_torch
from vtcd_jax import models
from vtcd_jax.converters import convert
from vtcd_jax.models import InputError

SEEKER = {
    "frame_height": 32, "frame_width": 48, "num_total_frames": 5, "num_visible_frames": 5, "patch_size": 8,
    "causal_attention": 1, "norm_embeddings": False, "tracker_pretrained": "1", "track_map_stride": 4,
    "track_map_resize": "bilinear", "query_channels": 1, "output_channels": 3, "flag_channels": 3,
    "attention_type": "divided_space_time", "drop_path_rate": 0.1, "which_seeker": "mask_track", "aot_arch": "aott",
}  # fmt: skip
HEADS = {"num_heads": 4}


def weights(golden: Path, name: str) -> dict[str, np.ndarray]:
    return load_file(golden / "models" / f"{name}_tiny.safetensors")


def convert_state(state: dict[str, np.ndarray], folder: Path, **options):
    """Saves a state dict, converts it to ``folder/m`` and returns (report, parameters)."""
    folder.mkdir(exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in state.items()}, folder / "x.safetensors")
    report = convert(folder / "x.safetensors", folder / "m", sanity=False, **options)
    return report, load_file(folder / "m" / "params.safetensors")


def seeker_file(path: Path, state: dict[str, np.ndarray], **settings) -> Path:
    """A checkpoint as the original training program writes it."""
    content = {
        "epoch": 70, "train_args": Namespace({"num_frames": 99, "learn_rate": 1e-4}), "dset_args": Namespace({}),
        "seeker_args": SEEKER | settings, "net_seeker": state, "optim_seeker": {"state": {}},
    }  # fmt: skip
    return write_torch(path, content)


def original_names(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hugging Face's names -> the original's, written for this test from the two code bases."""
    pairs = (
        ("timesformer.embeddings.", ""), ("timesformer.encoder.layer.", "blocks."), ("timesformer.layernorm.", "norm."),
        ("position_embeddings", "pos_embed"), ("time_embeddings", "time_embed"),
        ("patch_embeddings.projection", "patch_embed.proj"), ("temporal_attention.attention.qkv", "temporal_attn.qkv"),
        ("temporal_attention.output.dense", "temporal_attn.proj"), ("attention.attention.qkv", "attn.qkv"),
        ("attention.output.dense", "attn.proj"), ("temporal_layernorm", "temporal_norm1"),
        ("temporal_dense", "temporal_fc"), ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
        ("intermediate.dense", "mlp.fc1"), ("output.dense", "mlp.fc2"), ("classifier.", "head."),
    )  # fmt: skip
    named = {}
    for name, value in state.items():
        for hub, original in pairs:
            name = name.replace(hub, original)
        named[name] = value
    return named


# -- TimeSformer ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("container", "prefix"), [("model_state", "model."), ("state_dict", "module.")])
def test_the_originals_files_and_the_hubs_give_the_same_parameters(golden, tmp_path, container, prefix):
    state, heads = weights(golden, "hf_timesformer"), {"num_heads": 3}
    _, hub = convert_state(state, tmp_path / "hub", config=heads)
    named = {f"{prefix}{name}": value for name, value in original_names(state).items()}
    path = write_torch(tmp_path / "x.pyth", {"epoch": 14, container: named, "cfg": "MODEL: vit"})
    report = convert(path, tmp_path / "m", config=heads, sanity=False)
    ours = load_file(tmp_path / "m" / "params.safetensors")
    assert report.layout == "original TimeSformer names" and report.config.attention == "divided"
    assert set(ours) == set(hub) and all(np.array_equal(ours[name], hub[name]) for name in hub)
    fused = state["timesformer.encoder.layer.1.temporal_attention.attention.qkv.weight"]
    np.testing.assert_array_equal(ours["block_1/time_attn/key/kernel"], fused[48:96].T)


def test_the_kind_of_attention_is_told_by_the_tensors(golden, tmp_path):
    state = original_names(weights(golden, "hf_timesformer"))
    joint = {name: value for name, value in state.items() if "temporal" not in name}
    report, _ = convert_state(joint, tmp_path / "joint", config={"num_heads": 3})
    assert report.config.attention == "joint"
    space = {name: value for name, value in joint.items() if name != "time_embed"}
    report, ours = convert_state(space, tmp_path / "space", config={"num_heads": 3, "num_frames": 6})
    assert report.config.attention == "space" and report.config.num_frames == 6
    assert "block_0/attn/query/kernel" in ours and "token_embed/time_table" not in ours
    with pytest.raises(InputError, match="tensors do not tell num_frames"):
        convert_state(space, tmp_path / "untold", config={"num_heads": 3})
    with pytest.raises(InputError, match="says attention = divided, the tensors say joint"):
        convert_state(joint, tmp_path / "wrong", config={"num_heads": 3, "attention_type": "divided_space_time"})


def test_other_sizes_take_the_nearest_rows_and_keep_the_class_position(golden, tmp_path):
    state = weights(golden, "hf_timesformer")
    sizes = {"num_heads": 3, "num_frames": 6, "image_size": 64}
    report, ours = convert_state(state, tmp_path, config=sizes)
    positions = state["timesformer.embeddings.position_embeddings"][0]
    table = ours["token_embed/position_table"]
    np.testing.assert_array_equal(table[0], positions[0])
    np.testing.assert_array_equal(table[1:], positions[1:].repeat(4, 0))
    times = state["timesformer.embeddings.time_embeddings"][0]
    np.testing.assert_array_equal(ours["token_embed/time_table"], times[[0, 0, 1, 2, 2, 3]])
    assert set(report.changed) == {"num_frames 4 -> 6", "image_size 32 -> 64"}


# -- TCOW ----------------------------------------------------------------------------------------------------------
def test_the_seekers_own_settings_are_read(golden, tmp_path):
    """With heads of 64 channels, as published, nothing has to be told; the tiny network's are narrower."""
    state = weights(golden, "tcow")
    path = seeker_file(tmp_path / "x.pth", state, causal_attention=2, tracker_pretrained="0", track_map_stride=8)
    report = convert(path, tmp_path / "m", config=HEADS, sanity=False)
    c = models.load(tmp_path / "m").config
    assert (c.image_height, c.image_width, c.num_frames, c.patch_size) == (32, 48, 5, 8)
    assert (c.causal_attention, c.normalise_rgb, c.norm_embeddings) == (2, False, False)
    assert (c.mask_stride, c.mask_upsampling, c.flags) == (8, "bilinear", True)
    assert sum(value.size for value in state.values()) == report.parameters + 2 * 32  # the norm is not applied
    assert sum("not applied" in reason for reason in report.ignored.values()) == 2


def test_older_settings_may_be_truth_values(golden, tmp_path):
    path = seeker_file(tmp_path / "x.pth", weights(golden, "tcow"), causal_attention=True, tracker_pretrained=True)
    config = convert(path, tmp_path / "m", config=HEADS, sanity=False).config
    assert config.causal_attention == 1 and type(config.causal_attention) is int and config.normalise_rgb is True


def test_a_patch_of_mask_logits_is_reordered(golden, tmp_path):
    """There: mask, row, column; here: row, column, mask."""
    state = weights(golden, "tcow")
    convert(seeker_file(tmp_path / "x.pth", state), tmp_path / "m", config=HEADS, sanity=False)
    ours = load_file(tmp_path / "m" / "params.safetensors")
    kernel, bias = state["seeker.tracker_post_linear.weight"], state["seeker.tracker_post_linear.bias"]
    mask, row, column = 2, 1, 5
    theirs, place = (mask * 8 + row) * 8 + column, (row * 8 + column) * 3 + mask
    np.testing.assert_array_equal(ours["mask_head/kernel"][:, place], kernel[theirs])
    assert ours["mask_head/bias"][place] == bias[theirs]


def test_networks_without_flags_have_no_head_for_them(golden, tmp_path):
    state = {name: value for name, value in weights(golden, "tcow").items() if "flag" not in name}
    path = seeker_file(tmp_path / "x.pth", state, flag_channels=0)
    assert convert(path, tmp_path / "m", config=HEADS, sanity=False).config.flags is False


def test_frames_are_resized_but_images_are_not(golden, tmp_path):
    """The original resizes its table of times in use, that of positions only where the grid is square."""
    state = weights(golden, "tcow")
    path = seeker_file(tmp_path / "x.pth", state)
    convert(path, tmp_path / "m", config=HEADS | {"num_frames": 10}, sanity=False)
    times = state["seeker.tracker_backbone.timesformer.model.time_embed"][0]
    table = load_file(tmp_path / "m" / "params.safetensors")["token_embed/time_table"]
    np.testing.assert_array_equal(table, times.repeat(2, 0))
    with pytest.raises(InputError, match=r"position_table the shape \[25, 32\], expected \[49, 32\]"):
        convert(path, tmp_path / "big", config=HEADS | {"image_height": 64}, sanity=False)


def test_what_tensors_cannot_tell_is_asked_for(golden, tmp_path):
    """Published settings and the code's defaults differ in causality and stride, so neither is assumed."""
    with pytest.raises(InputError) as error:
        convert_state(weights(golden, "tcow"), tmp_path, config=HEADS)
    for name in ("image_height", "image_width", "causal_attention", "mask_stride"):
        assert name in str(error.value)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_height": 30}, "image_height = 30 is no multiple of patch_size = 8"),
        ({"mask_stride": 5}, "mask_stride = 5"),
        ({"mask_upsampling": "bicubic"}, "only 'bilinear' or 'nearest'"),
        ({"causal_attention": -2}, "causal_attention = -2"),
        ({"attention_type": "joint_space_time"}, "not supported"),
    ],
)
def test_settings_that_do_not_fit_are_refused(golden, tmp_path, settings, message):
    path = seeker_file(tmp_path / "x.pth", weights(golden, "tcow"))
    with pytest.raises(InputError, match=message):
        convert(path, tmp_path / "m", config=HEADS | settings, sanity=False)


def test_another_number_of_masks_is_refused(golden, tmp_path):
    state = weights(golden, "tcow")
    state["seeker.tracker_post_linear.weight"] = state["seeker.tracker_post_linear.weight"][:64]
    with pytest.raises(InputError, match="gives 64 logits a patch, expected 3 masks"):
        convert(seeker_file(tmp_path / "x.pth", state), tmp_path / "m", config=HEADS, sanity=False)


# -- VideoMAE with layer scale -------------------------------------------------------------------------------------
def test_layer_scale_is_converted(golden, tmp_path):
    """Scales of one change nothing; others multiply what the blocks add."""
    state = weights(golden, "videomae_ft")
    config = json.loads((golden / "models" / "videomae_ft_tiny.json").read_text())
    for i in range(config["depth"]):
        state |= {f"blocks.{i}.gamma_{n}": np.full(48, n + i, np.float32) for n in (1, 2)}
    report, ours = convert_state(state, tmp_path, config=config | {"init_values": 0.1})
    assert report.config.layer_scale is True
    np.testing.assert_array_equal(ours["block_1/scale_2"], np.full(48, 3, np.float32))
    with pytest.raises(InputError, match="layer_scale"):
        convert_state(state, tmp_path / "contradicted", config=config)
