"""What tensors cannot tell comes from settings; what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.converters.tools import convert_only, params, settings, source
from tests.converters.torch_writer import read_plain_safetensors, write_torch
from vtcd_jax import models
from vtcd_jax.models import InputError


def hub_folder(golden: Path, folder: Path, **changes) -> Path:
    folder.mkdir(exist_ok=True)
    told = json.loads(settings(golden, "hf_videomae_cls").read_text())["config"]
    config = {
        **told, "model_type": "videomae", "architectures": ["VideoMAEForVideoClassification"], "hidden_act": "gelu",
        "id2label": {str(i): f"motion {i}" for i in range(7)}, "label2id": {f"motion {i}": i for i in range(7)},
        "layer_norm_eps": 1e-12, "use_mean_pooling": True, "qkv_bias": True, "decoder_hidden_size": 384,
        "torch_dtype": "float32",
        "transformers_version": "4.33.0", "hidden_dropout_prob": 0.0, "norm_pix_loss": False, **changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
    (folder / "model.safetensors").write_bytes(source(golden, "hf_videomae_cls").read_bytes())
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    return folder


def test_hub_folder_brings_its_sizes_labels_and_colours(golden, tmp_path):
    report = convert_only(hub_folder(golden, tmp_path / "hub"), tmp_path / "m")
    model = models.load(tmp_path / "m")
    assert model.labels == tuple(f"motion {i}" for i in range(7)) == report.labels
    assert (model.config.num_heads, model.config.num_frames, model.config.image_size) == (3, 8, 32)
    assert model.preprocessing.mean == (0.5,) * 3 and model.preprocessing.std == (0.25,) * 3
    assert "Hugging Face folder" in report.why
    # Its blocks follow layer_norm_eps; the norm before the head has torch's default whatever the config says.
    assert (model.config.norm_eps, model.config.head_norm_eps) == (1e-12, 1e-5)
    other = convert_only(hub_folder(golden, tmp_path / "hub", layer_norm_eps=1e-7), tmp_path / "n").config
    assert (other.norm_eps, other.head_norm_eps) == (1e-7, 1e-5)


def test_config_beside_a_hub_file_is_used(golden, tmp_path):
    folder = hub_folder(golden, tmp_path / "hub")
    assert convert_only(folder / "model.safetensors", tmp_path / "m").config.num_heads == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"use_mean_pooling": False}, "use_mean_pooling = False, which is not supported"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ({"qkv_bias": False}, "qkv_bias = False"),
        ({"num_channels": 4}, "num_channels = 4"),
        ({"hidden_size": 64}, "config.json says width = 64, the tensors say 48"),
        ({"num_hidden_layers": 2}, "depth = 2, the tensors say 3"),
        ({"num_attention_heads": 5}, "no multiple of num_heads = 5"),
        ({"num_attention_heads": "three"}, "expected int"),
        ({"num_attention_heads": 0}, "at least 1"),
        ({"image_size": 10**9}, "out of reach"),
        ({"layer_norm_eps": -1.0}, "norm_eps = -1.0 is negative"),
        ({"image_size": 30}, "no multiple of patch_size"),
        ({"rotary_positions": True}, "rotary_positions"),
        ({"model_type": "timesformer"}, "is for 'timesformer'"),
        ({"mean": [0.5, 0.5]}, "mean = .* no valid preprocessing"),
        ({"std": [0.2, 0.2, 0.0]}, "std = .* no valid preprocessing"),
        ({"stride": 0}, "stride = 0, which is no valid preprocessing"),
        ({"id2label": {"0": "a"}}, "1 names, the checkpoint has 7 classes"),
    ],
)
def test_settings_that_do_not_fit_are_refused(golden, tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        convert_only(hub_folder(golden, tmp_path / "hub", **changes), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_layer_scale_is_told_by_the_tensors(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    told = json.loads(settings(golden, "videomae_ft").read_text())
    with pytest.raises(InputError, match="says layer_scale = True, the tensors say False"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=told | {"init_values": 0.1})
    state |= {f"blocks.{i}.gamma_{j}": np.full(48, 0.1 * j, np.float32) for i in range(3) for j in (1, 2)}
    told |= {"init_values": 0.1}
    report = convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=told)
    assert report.config.layer_scale is True and params(tmp_path / "m")["block_2/scale_2"][0] == np.float32(0.2)
    del state["blocks.2.gamma_1"]
    with pytest.raises(InputError, match=r"missing tensor blocks.2.gamma_1 \(for block_2/scale_1\)"):
        convert_only(write_torch(tmp_path / "y.pth", state), tmp_path / "n", config=told)


@pytest.mark.parametrize(("name", "refused"), [("videomae_pretrain", True), ("hf_videomae_pretrain", False)])
def test_other_lengths_are_taken_where_the_original_takes_them(golden, tmp_path, name, refused):
    told = json.loads(settings(golden, name).read_text())
    told = told.get("config", told) | {"num_frames": 32}
    if refused:
        with pytest.raises(InputError, match="num_frames = 32: the original autoencoder takes 16 frames only"):
            convert_only(source(golden, name), tmp_path / "m", config=told)
    else:
        assert convert_only(source(golden, name), tmp_path / "m", config=told).config.num_frames == 32


def test_heads_are_told_or_those_of_the_published_width(golden, tmp_path):
    with pytest.raises(InputError, match=r'not tell num_heads; tell it with --config FILE, .* \{"num_heads": …\}'):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config={"image_size": 32, "num_frames": 8})
    state = {k: np.zeros(s, np.float32) for k, s in wide_shapes().items()}
    with pytest.raises(InputError, match="not tell num_heads"):
        convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "w", dry_run=True)
    state = {k: np.zeros(s, np.float32) for k, s in wide_shapes(384).items()}
    report = convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "w", dry_run=True)
    assert (report.config.num_heads, report.config.image_size, report.config.num_frames) == (6, 224, 16)
    assert report.labels == ("class_0", "class_1")
    assert any("num_heads = 6 (as in the published networks of 384 channels" in line for line in report.assumed)


def wide_shapes(width: int = 128) -> dict[str, tuple[int, ...]]:
    w, b = width, "blocks.0."
    return {
        "patch_embed.proj.weight": (w, 3, 2, 16, 16), "patch_embed.proj.bias": (w,), b + "norm1.weight": (w,),
        b + "norm1.bias": (w,), b + "attn.qkv.weight": (3 * w, w), b + "attn.q_bias": (w,), b + "attn.v_bias": (w,),
        b + "attn.proj.weight": (w, w), b + "attn.proj.bias": (w,), b + "norm2.weight": (w,), b + "norm2.bias": (w,),
        b + "mlp.fc1.weight": (w + 7, w), b + "mlp.fc1.bias": (w + 7,), b + "mlp.fc2.weight": (w, w + 7),
        b + "mlp.fc2.bias": (w,), "fc_norm.weight": (w,), "fc_norm.bias": (w,), "head.weight": (2, w),
        "head.bias": (2,),
    }  # fmt: skip


def test_user_settings_go_before_all_others(golden, tmp_path):
    folder = hub_folder(golden, tmp_path / "hub")
    report = convert_only(
        folder, tmp_path / "m", config={"num_attention_heads": 6, "stride": 5}, labels=list("abcdefg")
    )
    model = models.load(tmp_path / "m")
    assert (report.config.num_heads, model.preprocessing.stride, model.labels) == (6, 5, tuple("abcdefg"))


@pytest.mark.parametrize("kind", ["txt", "list", "name to index", "index to name"])
def test_labels_from_files(golden, tmp_path, kind):
    names = [f"Moving {x}" for x in "abcdefg"]
    path = tmp_path / ("labels.txt" if kind == "txt" else "labels.json")
    values = {"list": names, "name to index": {n: str(i) for i, n in enumerate(names)}}
    values["index to name"] = dict(enumerate(names))
    path.write_text("\n".join(names) + "\n" if kind == "txt" else json.dumps(values[kind]))
    config = settings(golden, "videomae_ft")
    report = convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=config, labels=path)
    assert report.labels == tuple(names) == models.load(tmp_path / "m").labels


@pytest.mark.parametrize("labels", [["a"], {"a": 0, "b": 0}, {str(i): i + 1 for i in range(7)}, {"x": "y"}])
def test_wrong_labels(golden, tmp_path, labels):
    with pytest.raises(InputError, match="labels"):
        convert_only(
            source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"), labels=labels
        )
    assert list(tmp_path.iterdir()) == []
