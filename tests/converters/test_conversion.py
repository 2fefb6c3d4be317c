"""Published layouts become the same parameters, and everything that is wrong is said at once, with nothing written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vtcd_jax import models
from vtcd_jax.converters import convert
from vtcd_jax.models import InputError, files

from .torch_writer import Namespace, bfloat16, call, read_plain_safetensors, write_torch

NAMES = ("videomae_ft", "videomae_pretrain", "hf_videomae_cls", "hf_videomae_pretrain")
SIZES = {"num_heads": 3, "image_size": 32, "num_frames": 8}


def source(golden: Path, name: str) -> Path:
    return golden / "models" / f"{name}_tiny.safetensors"


def settings(golden: Path, name: str) -> Path:
    return source(golden, name).with_suffix(".json")


def params(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "params.safetensors")


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


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


# -- what comes out ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_both_containers_give_the_same_parameters(golden, tmp_path, name):
    config = settings(golden, name)
    report = convert(source(golden, name), tmp_path / "a", config=config)
    state = read_plain_safetensors(source(golden, name))
    pth = write_torch(tmp_path / "x.pth", {"model": state, "epoch": 3, "optimizer": {"step": 1}})
    convert(pth, tmp_path / "b", config=config)
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
    convert(source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"))
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
    convert(source(golden, name), tmp_path / "a", config=config)
    for i, hub in enumerate((original_to_hub(state), memory_names(original_to_hub(state)))):
        save_file(hub, tmp_path / "hub.safetensors")
        report = convert(tmp_path / "hub.safetensors", tmp_path / f"hub{i}", config=config)
        assert report.layout == "Hugging Face names"
        assert_same(params(tmp_path / "a"), params(tmp_path / f"hub{i}"))


@pytest.mark.parametrize("container", ["module", "model", "state_dict", "model_ema", None])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module._orig_mod."])
def test_containers_and_prefixes_are_undone_and_reported(golden, tmp_path, container, prefix):
    state = {prefix + k: v for k, v in read_plain_safetensors(source(golden, "videomae_ft")).items()}
    value = {container: state, "epoch": 1, "args": Namespace({"lr": 1.0})} if container else state
    path = write_torch(tmp_path / "x.pth", value)
    report = convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"), dry_run=True)
    assert (f"weights under {container!r}" if container else "a bare state dict") in report.why
    assert all(repr(part + ".") in report.why for part in prefix.split(".") if part)
    assert container is None or report.ignored["epoch"] == "not the weights"


def test_plain_weights_go_before_averaged_ones(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    averaged = {k: v + 1 for k, v in state.items()}
    path = write_torch(tmp_path / "x.pth", {"model_ema": averaged, "module": state})
    report = convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    assert report.ignored == {"model_ema": "not the weights"}
    np.testing.assert_array_equal(params(tmp_path / "m")["head/bias"], state["head.bias"])


@pytest.mark.parametrize(("store", "tolerance"), [(lambda v: v.astype(np.float16), 2**-11), (bfloat16, 2**-7)])
def test_half_precision_becomes_float32(golden, tmp_path, store, tolerance):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    path = write_torch(tmp_path / "x.pth", {"module": {k: store(v) for k, v in state.items()}})
    convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    got = params(tmp_path / "m")["head/kernel"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, state["head.weight"].T, rtol=tolerance, atol=1e-7)


def test_repeated_qkv_bias_is_verified(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    for i in range(3):
        q, v = state[f"blocks.{i}.attn.q_bias"], state[f"blocks.{i}.attn.v_bias"]
        state[f"blocks.{i}.attn.qkv.bias"] = np.concatenate([q, np.zeros_like(q), v])
    config = settings(golden, "videomae_ft")
    report = convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=config)
    assert "verified" in report.ignored["blocks.2.attn.qkv.bias"]
    state["blocks.1.attn.qkv.bias"] = state["blocks.1.attn.qkv.bias"] + np.float32(1e-3)
    with pytest.raises(InputError, match=r"blocks.1.attn.qkv.bias is not \[q_bias, 0, v_bias\]") as error:
        convert(write_torch(tmp_path / "y.pth", state), tmp_path / "n", config=config)
    assert "blocks.2.attn.qkv.bias" not in str(error.value)


def test_stored_position_table_is_verified(golden, tmp_path):
    from vtcd_jax.models.layers import sine_cosine_table

    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["pos_embed"] = sine_cosine_table(64, 48)[None]
    config = settings(golden, "videomae_ft")
    assert "pos_embed" in convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=config).ignored
    state["pos_embed"] = state["pos_embed"] + np.float32(0.1)
    with pytest.raises(InputError, match="pos_embed is not the fixed sine-cosine table"):
        convert(write_torch(tmp_path / "y.pth", state), tmp_path / "n", config=config)


def test_two_conversions_give_the_same_bytes(golden, tmp_path):
    for folder in ("a", "b"):
        convert(source(golden, "videomae_ft"), tmp_path / folder, config=settings(golden, "videomae_ft"))
    found = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert found == ["config.json", "labels.json", "manifest.json", "params.safetensors"]
    for name in found:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_manifest_says_where_the_parameters_come_from(golden, tmp_path):
    import hashlib

    path = source(golden, "videomae_ft")
    convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    text = (tmp_path / "m" / "manifest.json").read_text()
    assert json.loads(text)["source_sha256"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert str(tmp_path) not in text and str(path.parent) not in text


def test_orbax_folder_loads_to_the_same_parameters(golden, tmp_path):
    config = settings(golden, "videomae_ft")
    convert(source(golden, "videomae_ft"), tmp_path / "a", config=config)
    for overwrite in (False, True):
        convert(
            source(golden, "videomae_ft"), tmp_path / "b", config=config, format="orbax", overwrite=overwrite
        )  # fmt: skip
    a, b = (files.flatten(models.load(tmp_path / name).params) for name in "ab")
    assert_same({k: np.asarray(v) for k, v in a.items()}, {k: np.asarray(v) for k, v in b.items()})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_table_lists_every_tensor_and_what_was_assumed(golden, tmp_path):
    report = convert(
        source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"), dry_run=True
    )
    text = report.table()
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    assert all(name in text for name in state) and "144x48" in text and "split_qkv" in text
    assert "assumed: stride = 2" in text and "nothing written (dry run)" in text.splitlines()[-1]
    assert report.out is None and list(tmp_path.iterdir()) == []
    json.dumps(report.to_json())
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.family = "x"  # type: ignore[misc]


def test_a_training_checkpoint_of_torch_itself(golden, tmp_path):
    torch = pytest.importorskip("torch")
    import argparse
    import collections

    state = {
        k: torch.from_numpy(v.copy()) for k, v in read_plain_safetensors(source(golden, "videomae_pretrain")).items()
    }
    layer = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    args = argparse.Namespace(
        input_size=32, mask_ratio=np.float64(0.75), num_frames=16, out=Path("/runs/a"), chosen={1, 2},
        table=np.arange(3),
        device=torch.device("cpu"), dtype=torch.float16,
    )  # fmt: skip
    saved = {
        "model": collections.OrderedDict(state), "optimizer": optimizer.state_dict(), "epoch": 1, "args": args,
        "lr_sched": torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 4]).state_dict(), "rng": torch.get_rng_state(),
    }  # fmt: skip
    torch.save(saved, tmp_path / "x.pth")
    torch.save({k: torch.nn.Parameter(v) for k, v in state.items()}, tmp_path / "y.pth", pickle_protocol=4)
    convert(source(golden, "videomae_pretrain"), tmp_path / "ref", config=settings(golden, "videomae_pretrain"))
    report = convert(tmp_path / "x.pth", tmp_path / "x", config={"num_heads": 3, "decoder_num_heads": 2})
    convert(tmp_path / "y.pth", tmp_path / "y", config=settings(golden, "videomae_pretrain"))
    assert (report.config.mask_ratio, report.config.image_size) == (0.75, 32)
    for name in "xy":
        assert_same(params(tmp_path / "ref"), params(tmp_path / name))


# -- settings ------------------------------------------------------------------------------------------------------
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
    report = convert(hub_folder(golden, tmp_path / "hub"), tmp_path / "m")
    model = models.load(tmp_path / "m")
    assert model.labels == tuple(f"motion {i}" for i in range(7)) == report.labels
    assert (model.config.num_heads, model.config.num_frames, model.config.image_size) == (3, 8, 32)
    assert model.preprocessing.mean == (0.5,) * 3 and model.preprocessing.std == (0.25,) * 3
    assert "Hugging Face folder" in report.why
    # Its blocks follow layer_norm_eps; the norm before the head has torch's default whatever the config says.
    assert (model.config.norm_eps, model.config.head_norm_eps) == (1e-12, 1e-5)
    other = convert(hub_folder(golden, tmp_path / "hub", layer_norm_eps=1e-7), tmp_path / "n").config
    assert (other.norm_eps, other.head_norm_eps) == (1e-7, 1e-5)


def test_config_beside_a_hub_file_is_used(golden, tmp_path):
    folder = hub_folder(golden, tmp_path / "hub")
    assert convert(folder / "model.safetensors", tmp_path / "m").config.num_heads == 3


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
        convert(hub_folder(golden, tmp_path / "hub", **changes), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_layer_scale_is_refused(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    config = settings(golden, "videomae_ft")
    with pytest.raises(InputError, match="init_values = 0.1"):
        convert(
            source(golden, "videomae_ft"), tmp_path / "m", config={**json.loads(config.read_text()), "init_values": 0.1}
        )
    state["blocks.0.gamma_1"] = np.ones(48, np.float32)
    with pytest.raises(InputError, match=r"blocks.0.gamma_1 belongs to a variant .* layer scale"):
        convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=config)


def test_heads_are_told_or_width_over_64(golden, tmp_path):
    with pytest.raises(InputError, match=r'do not tell num_heads; tell it with config=\{"num_heads": …\}'):
        convert(source(golden, "videomae_ft"), tmp_path / "m", config={"image_size": 32, "num_frames": 8})
    state = {k: np.zeros(s, np.float32) for k, s in wide_shapes().items()}
    report = convert(write_torch(tmp_path / "x.pth", state), tmp_path / "w", dry_run=True)
    assert (report.config.num_heads, report.config.image_size, report.config.num_frames) == (2, 224, 16)
    assert report.labels == ("class_0", "class_1")
    assert any("num_heads = 2 (width / 64" in line for line in report.assumed)


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


def test_arguments_in_the_checkpoint_are_read(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_pretrain"))
    args = Namespace(
        {"input_size": 32, "mask_ratio": 0.75, "num_frames": 16, "lr": 1e-3, "decoder_depth": 9, "opt": None}
    )
    path = write_torch(tmp_path / "x.pth", {"model": state, "args": args})
    report = convert(path, tmp_path / "m", config={"num_heads": 3, "decoder_num_heads": 2})
    assert (report.config.image_size, report.config.mask_ratio, report.config.decoder_depth) == (32, 0.75, 2)
    assert report.ignored["args"] == "read for settings"


def test_user_settings_go_before_all_others(golden, tmp_path):
    folder = hub_folder(golden, tmp_path / "hub")
    report = convert(folder, tmp_path / "m", config={"num_attention_heads": 6, "stride": 5}, labels=list("abcdefg"))
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
    report = convert(source(golden, "videomae_ft"), tmp_path / "m", config=config, labels=path)
    assert report.labels == tuple(names) == models.load(tmp_path / "m").labels


@pytest.mark.parametrize("labels", [["a"], {"a": 0, "b": 0}, {str(i): i + 1 for i in range(7)}, {"x": "y"}])
def test_wrong_labels(golden, tmp_path, labels):
    with pytest.raises(InputError, match="labels"):
        convert(source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"), labels=labels)
    assert list(tmp_path.iterdir()) == []


# -- bad checkpoints -----------------------------------------------------------------------------------------------
def test_all_problems_at_once(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    del state["blocks.2.attn.qkv.weight"], state["fc_norm.bias"]
    state["blocks.0.mlp.fc2.bias"] = np.zeros(9, np.float32)
    state["blocks.1.norm1.weight"] = np.full(48, np.nan, np.float32)
    state["blocks.1.norm2.bias"] = np.array([np.inf] + [0] * 47, np.float32)
    state["surprise.weight"] = np.zeros((2, 2), np.float32)
    state["blocks.0.norm1.bias"] = np.zeros(48, np.int64)
    with pytest.raises(InputError) as error:
        convert(
            write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"), labels=["a"]
        )
    text = str(error.value)
    for said in (
        "missing tensor blocks.2.attn.qkv.weight (for block_2/attn/key/kernel",
        "missing tensor fc_norm.bias (for head_norm/bias)",
        "blocks.0.mlp.fc2.bias gives block_0/mlp/fc_2/bias the shape [9], expected [48]",
        "blocks.1.norm1.weight has 48 NaN or infinite values of 48",
        "blocks.1.norm2.bias has 1 NaN or infinite values of 48",
        "unexpected tensor surprise.weight [2, 2]",
        "blocks.0.norm1.bias holds int64",
        "labels has 1 names, the checkpoint has 7 classes",
    ):
        assert said in text, said
    assert len(text.splitlines()) == 9 and not (tmp_path / "m").exists()


def test_missing_tensor_that_tells_the_sizes(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    del state["head.weight"]
    state["other"] = np.zeros(2, np.float32)
    with pytest.raises(InputError, match=r"(?s)missing tensor head.weight.*unexpected tensor other"):
        convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_block_numbers_out_of_all_proportion(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["blocks.999999.norm1.bias"] = np.zeros(48, np.float32)
    with pytest.raises(InputError, match="numbered up to 999999, but there are 4"):
        convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_overflow_on_the_way_to_float32_is_found(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["head.bias"] = np.full(7, 1e300)
    with pytest.raises(InputError, match="head.bias has 7 NaN or infinite"):
        convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_other_architectures_are_refused(golden, tmp_path):
    shapes = {
        "cls_token": (1, 1, 8),
        "pos_embed": (1, 5, 8),
        "patch_embed.proj.weight": (8, 3, 4, 4),
        "head.weight": (3, 8),
    }
    shapes |= {
        f"blocks.{i}.attn.qkv.{part}": (24, 8)[: 3 - len(part) // 3] for i in (0, 1) for part in ("weight", "bias")
    }
    vit = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(InputError, match="is not any known network .*; its 8 tensors begin with cls_token"):
        convert(write_torch(tmp_path / "vit.pth", {"model": vit}), tmp_path / "m")
    with pytest.raises(InputError, match="is not a checkpoint of videomae-pretrain"):
        convert(source(golden, "videomae_ft"), tmp_path / "m", family="videomae-pretrain")
    with pytest.raises(InputError, match="unknown model family 'resnet'; known: videomae-classifier"):
        convert(source(golden, "videomae_ft"), tmp_path / "m", family="resnet")
    with pytest.raises(InputError, match="holds no tensors by name"):
        convert(write_torch(tmp_path / "list.pth", [np.zeros(3, np.float32)]), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_other_reference_networks_are_refused(shared, tmp_path):
    others = [p for p in (shared / "golden" / "models").glob("*.safetensors") if "videomae" not in p.name]
    assert len(others) > 10
    for path in others:
        with pytest.raises(InputError, match="is not any known network|cannot convert"):
            convert(path, tmp_path / "m")


def test_the_encoders_last_norm_is_there_or_not_as_in_the_file(golden, tmp_path):
    config = settings(golden, "hf_videomae_pretrain")
    report = convert(source(golden, "hf_videomae_pretrain"), tmp_path / "without", config=config)
    assert report.config.encoder_norm is False and "encoder/norm/scale" not in params(tmp_path / "without")
    state = dict(read_plain_safetensors(source(golden, "hf_videomae_pretrain")))
    state |= {f"videomae.layernorm.{part}": np.full(48, 2.0, np.float32) for part in ("weight", "bias")}
    report = convert(write_torch(tmp_path / "x.pth", state), tmp_path / "with", config=config)
    assert report.config.encoder_norm is True
    assert params(tmp_path / "with")["encoder/norm/scale"].tolist() == [2.0] * 48


def test_class_token_pooling_is_refused(golden, tmp_path):
    state = {k.replace("fc_norm", "norm"): v for k, v in read_plain_safetensors(source(golden, "videomae_ft")).items()}
    with pytest.raises(InputError, match="class-token pooling"):
        convert(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_hostile_pickle_writes_and_runs_nothing(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    path = write_torch(tmp_path / "x.pth", {"model": state, "args": call("os.system", f"touch {tmp_path / 'owned'}")})
    with pytest.raises(InputError, match="os.system"):
        convert(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]


# -- writing -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("format", ["safetensors", "orbax"])
@pytest.mark.parametrize("moment", ["params", "manifest"])
def test_a_full_disk_leaves_nothing(golden, tmp_path, monkeypatch, format, moment):
    from vtcd_jax.converters import conversion

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    if moment == "manifest":
        monkeypatch.setattr(files, "write_json", full)
    elif format == "safetensors":
        calls = iter(range(100))
        made = conversion.make
        monkeypatch.setattr(conversion, "make", lambda fill: made(fill) if next(calls) < 20 else full())
    else:
        import orbax.checkpoint as ocp

        monkeypatch.setattr(ocp.StandardCheckpointer, "save", full)
    config = settings(golden, "videomae_ft")
    with pytest.raises(OSError, match="No space left"):
        convert(source(golden, "videomae_ft"), tmp_path / "m", config=config, format=format)
    assert list(tmp_path.iterdir()) == []


def test_existing_folders_are_kept_unless_they_are_models(golden, tmp_path):
    config = settings(golden, "videomae_ft")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for overwrite, says in ((False, "pass --overwrite"), (True, "is no model folder")):
        with pytest.raises(InputError, match=says):
            convert(source(golden, "videomae_ft"), tmp_path / "mine", config=config, overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    convert(source(golden, "videomae_ft"), tmp_path / "m", config=config)
    with pytest.raises(InputError, match="exists"):
        convert(source(golden, "videomae_ft"), tmp_path / "m", config=config)
    convert(source(golden, "videomae_ft"), tmp_path / "m", config=config, labels=list("abcdefg"), overwrite=True)
    assert models.load(tmp_path / "m").labels == tuple("abcdefg")
    inside = tmp_path / "m" / "x.pth"
    write_torch(inside, read_plain_safetensors(source(golden, "videomae_ft")))
    with pytest.raises(InputError, match="holds the checkpoint itself"):
        convert(inside, tmp_path / "m", config=config, overwrite=True)
    with pytest.raises(InputError, match="unknown format 'pickle'"):
        convert(inside, tmp_path / "z", config=config, format="pickle")
