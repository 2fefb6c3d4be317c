"""What users bring: files that are no weights, weights of other code, wrapped and averaged weights, published sizes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.converters.families.test_clip_table import CONFIG as CLIP
from tests.converters.families.test_clip_table import original
from tests.converters.tables.test_settings import hub_folder, wide_shapes
from vtcd_jax.converters.families.tcow import pretrained
from vtcd_jax.converters.families.videomae_settings import DECODER_HEADS, HEADS
from vtcd_jax.converters.tables.sizes import heads_of
from vtcd_jax.models import InputError
from vtcd_jax.models.families.videomae import SIZES, classifier_config

from .tools import assert_same, convert_only, params, settings, source
from .torch_writer import Namespace, Raw, call, read_plain_safetensors, write_torch

RNG = np.random.default_rng(0)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


def packed(pack) -> bytes:
    out = io.BytesIO()
    pack(out)
    return out.getvalue()


def tar(out: Any, mode: Any = "w") -> None:
    with tarfile.open(fileobj=out, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("run/model.pth"))


def zipped(out) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/model.pth", b"x" * 1000)


# -- what a file is ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
@pytest.mark.parametrize(
    ("data", "says"),
    [
        (LFS, "is a git-lfs pointer, .*git lfs pull"),
        (b"\n <!doctype HTML><title>Sign in</title>", r"is a web page \(Sign in\)"),
        (b'{"error": "Access denied"}', r"is a server's error in JSON \(error: .Access denied"),
        (gzip.compress(b"x" * 99), r"is compressed with gzip; unpack it \(gunzip\)"),
        (packed(lambda out: tar(out, "w:gz")), "is a tar archive, compressed with gzip"),
        (packed(tar), r"is a tar archive \(run/model.pth"),
        (packed(zipped), r"is a zip with a checkpoint inside \(run/model.pth\)"),
        (b"GGUF" + bytes(90), "is quantised weights in the GGUF format"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "is an HDF5 file"),
        (bytes(400), "is a file that begins with zeros only"),
        (b"Too many requests, try later.", "is a text file that begins with 'Too many"),
    ],
    # Not the data: gzip and zip write the time into it, and all workers must collect the same names.
    ids=["git-lfs", "page", "json", "gzip", "tar.gz", "tar", "zip", "gguf", "hdf5", "zeros", "text"],
)
def test_a_file_is_named_for_what_it_is_whatever_its_suffix(tmp_path, data, says, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=says) as error:
        convert_only(path, tmp_path / "m")
    assert len(str(error.value).splitlines()) == 1 and str(path) in str(error.value)
    assert not (tmp_path / "m").exists()


# -- names and places of weights -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrapper", ["_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "module.", "_orig_mod.module."]
)
def test_wrappers_inside_names_are_taken_off_and_said(golden, tmp_path, wrapper):
    state, config = read_plain_safetensors(source(golden, "videomae_ft")), settings(golden, "videomae_ft")
    wrapped = {k.replace("blocks.1.", f"blocks.1.{wrapper}").replace("mlp.", f"mlp.{wrapper}"): v
               for k, v in state.items()}  # fmt: skip
    report = convert_only(write_torch(tmp_path / "x.pth", wrapped), tmp_path / "a", config=config)
    assert f"{wrapper.split('.')[0]}.' stripped" in report.why
    convert_only(source(golden, "videomae_ft"), tmp_path / "b", config=config)
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))
    wrapped["head.bias"], wrapped["_orig_mod.head.bias"] = state["head.bias"], state["head.bias"] + 1
    with pytest.raises(InputError, match=r"unexpected tensor _orig_mod\.head\.bias"):
        convert_only(write_torch(tmp_path / "y.pth", wrapped), tmp_path / "c", config=config)


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "swa"])
def test_averaged_weights_are_named_and_chosen_by_option(golden, tmp_path, key):
    state, config = read_plain_safetensors(source(golden, "videomae_ft")), settings(golden, "videomae_ft")
    path = write_torch(tmp_path / "x.pth", {"state_dict": state, key: {k: v / 2 for k, v in state.items()}})
    report = convert_only(path, tmp_path / "raw", config=config)
    assert report.ignored[key] == f"averaged weights, not taken; --weights {key} takes them"
    convert_only(path, tmp_path / "ema", config=config, weights=key)
    np.testing.assert_array_equal(params(tmp_path / "ema")["head/bias"], params(tmp_path / "raw")["head/bias"] / 2)
    inside = write_torch(tmp_path / "y.pth", state | {f"ema_model.{k}": v / 2 for k, v in state.items()})
    report = convert_only(inside, tmp_path / "in", config=config)
    assert report.ignored["ema_model.head.bias"].startswith("averaged weights, not taken; --weights ema_model")
    convert_only(inside, tmp_path / "in_ema", config=config, weights="ema_model")
    assert_same(params(tmp_path / "in_ema"), params(tmp_path / "ema"))
    with pytest.raises(InputError, match="--weights 'nothing' is neither a key"):
        convert_only(path, tmp_path / "none", config=config, weights="nothing")


def test_an_adapter_is_named_and_its_base_is_taken_when_asked_for(golden, tmp_path):
    folder = hub_folder(golden, tmp_path / "hub")
    lora = {"base_model.model.videomae.encoder.layer.0.attention.attention.query.lora_A.weight": np.ones((2, 48))}
    save_file(lora, folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"holds an adapter .*merge it first .*--weights base"):
        convert_only(folder, tmp_path / "m")
    report = convert_only(folder, tmp_path / "m", weights="base")
    assert "is not applied" in report.ignored["adapter_model.safetensors"]
    with pytest.raises(InputError, match="is an adapter without its base"):
        convert_only(folder / "adapter_model.safetensors", tmp_path / "n")


@pytest.mark.parametrize(
    "tensors", [{"a.weight": np.ones((4, 4), np.int8)}, {"a.qweight": np.ones((4, 4), np.int32)},
                {"a.weight": np.ones((4, 4), np.float32), "a.weight.quant_state.nf4": np.ones(3, np.uint8)}]
)  # fmt: skip
def test_quantised_weights_are_named(tmp_path, tensors):
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="holds quantised weights .*give the unquantised"):
        convert_only(tmp_path / "x.safetensors", tmp_path / "m")


def script(path: Path, state: dict[str, np.ndarray]) -> Path:
    """A TorchScript program's archive: nested objects of classes that only the program knows, and packed code."""

    def thing(fields: dict) -> Raw:
        inner = {k: thing(v) if isinstance(v, dict) else v for k, v in fields.items()}
        return Raw(Raw(b"c__torch__.net\nThing\n)\x81").code + made.value(inner) + b"b")

    from .torch_writer import Pickle

    made = Pickle()
    tree: dict[str, Any] = {"training": False}
    for name, value in state.items():
        *outer, last = name.split(".")
        node = tree
        for part in outer:
            node = node.setdefault(part, {"training": False})
        node[last] = value
    code = b"\x80\x02" + thing(tree).code + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", code)
        archive.writestr("net/constants.pkl", b"\x80\x02).")
        archive.writestr("net/code/__torch__/net.py", "x = 1\n" * 999, zipfile.ZIP_DEFLATED)
        for key, storage in enumerate(made.storages):
            archive.writestr(f"net/data/{key}", storage.tobytes())
    return path


def test_a_torchscript_program_gives_its_tensors_and_is_not_run(golden, tmp_path):
    state = original(load_file(source(golden, "hf_clip")))
    state = {name: value.astype(np.float32) for name, value in state.items()}
    report = convert_only(script(tmp_path / "ViT.pt", state), tmp_path / "a", config=CLIP)
    assert "TorchScript program, read without running it" in report.why
    save_file(state, tmp_path / "x.safetensors")
    convert_only(tmp_path / "x.safetensors", tmp_path / "b", config=CLIP)
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))
    other = script(tmp_path / "other.pt", {"0.weight": np.ones((8, 8), np.float32)})
    with pytest.raises(InputError, match="it is a TorchScript program: .*torch.jit.load"):
        convert_only(other, tmp_path / "c")


def test_unrelated_objects_beside_weights_are_inert(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    objects = {
        "hyper": Raw(b"comegaconf.dictconfig\nDictConfig\n)\x81}X\x01\x00\x00\x00aK\x01sb"),
        "mode": call("project.modes.Mode", "fast"), "when": call("datetime.datetime", b"\x07\xe8\x01\x01\0\0\0\0\0\0"),
        "callbacks": Raw(b"}cpytorch_lightning.callbacks.early_stopping\nEarlyStopping\nK\x01s"),
        "any": Raw(b"ctyping\nAny\n"),
    }  # fmt: skip
    path = write_torch(tmp_path / "x.ckpt", {"state_dict": state, **objects})
    report = convert_only(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    assert set(report.ignored) == set(objects)


def test_names_of_mmaction2_give_the_same_network(golden, tmp_path):
    state, config = read_plain_safetensors(source(golden, "videomae_ft")), settings(golden, "videomae_ft")
    theirs = {}
    for name, value in state.items():
        head = name.startswith("head.")
        for a, b in (("patch_embed.proj", "patch_embed.projection"), ("mlp.fc1", "mlp.layers.0.0"),
                     ("mlp.fc2", "mlp.layers.1")):  # fmt: skip
            name = name.replace(a, b)
        theirs[name.replace("head.", "cls_head.fc_cls.") if head else f"backbone.{name}"] = value
    path = write_torch(tmp_path / "x.pth", {"meta": {"epoch": 1}, "state_dict": theirs})
    assert convert_only(path, tmp_path / "a", config=config).layout == "mmaction2's names"
    convert_only(source(golden, "videomae_ft"), tmp_path / "b", config=config)
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))


# -- settings ------------------------------------------------------------------------------------------------------
def test_heads_are_those_of_the_published_networks():
    for width, _, heads, decoder, decoder_heads in SIZES.values():
        assert (HEADS[width], DECODER_HEADS[decoder]) == (heads, decoder_heads)
    assert heads_of({"width": 1280}, HEADS)["num_heads"][0] == 16 and heads_of({"width": 1344}, HEADS) == {}
    assert int(1408 * classifier_config("g").mlp_ratio) == 6144


def test_the_decoder_has_an_mlp_ratio_of_its_own(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_pretrain"))
    cut = {k: (v[:10] if k.endswith(("fc1.weight", "fc1.bias")) else v[:, :10] if k.endswith("fc2.weight") else v)
           if k.startswith("decoder.blocks") else v for k, v in state.items()}  # fmt: skip
    path = write_torch(tmp_path / "x.pth", {k: np.ascontiguousarray(v) for k, v in cut.items()})
    config = convert_only(path, tmp_path / "m", config=settings(golden, "videomae_pretrain")).config
    assert int(config.decoder_width * config.decoder_mlp_ratio) == 10 and config.mlp_ratio > 1


def test_the_arguments_stride_is_taken_and_the_users_goes_before_it(golden, tmp_path):
    from vtcd_jax import models

    state = {k: np.zeros(s, np.float32) for k, s in wide_shapes(384).items()}
    args = Namespace({"sampling_rate": 4, "num_frames": 16, "input_size": 224})
    path = write_torch(tmp_path / "x.pth", {"model": state, "args": args})
    report = convert_only(path, tmp_path / "m")
    assert models.load(tmp_path / "m").preprocessing.stride == 4
    assert "stride = 4 (told by the checkpoint's arguments)" in report.assumed
    convert_only(path, tmp_path / "n", config={"sampling_rate": 3})
    assert models.load(tmp_path / "n").preprocessing.stride == 3


def test_the_users_settings_go_before_a_files_even_where_those_would_be_refused(golden, tmp_path):
    folder = hub_folder(golden, tmp_path / "hub", hidden_act="relu", num_attention_heads="three")
    with pytest.raises(InputError, match="hidden_act = 'relu'"):
        convert_only(folder, tmp_path / "m")
    report = convert_only(folder, tmp_path / "m", config={"hidden_act": "gelu", "num_heads": 3})
    assert report.config.num_heads == 3


@pytest.mark.parametrize(("name", "values"), [("hidden_act", ("gelu", "quick_gelu")), ("layer_norm_eps", (1e-5, 1e-6))])
def test_towers_that_differ_in_a_shared_setting_are_refused(golden, tmp_path, name, values):
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(source(golden, "hf_clip").read_bytes())
    told = json.loads(settings(golden, "hf_clip").read_text())["config"] | {"model_type": "clip"}
    told["vision_config"][name], told["text_config"][name] = values
    (folder / "config.json").write_text(json.dumps(told))
    with pytest.raises(InputError, match=rf"text_config\.{name}.* for both|vision_config\.{name}.* for both"):
        convert_only(folder, tmp_path / "m")


def test_an_openclip_folder_tells_heads_and_activation(golden, tmp_path):
    folder = tmp_path / "hub"
    folder.mkdir()
    save_file(original(load_file(source(golden, "hf_clip"))), folder / "open_clip_model.safetensors")
    vision, text = {"layers": 3, "width": 48, "head_width": 16, "patch_size": 8, "image_size": 32}, {"heads": 2}
    config = {"model_cfg": {"vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {"mean": [0.5] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    report = convert_only(folder, tmp_path / "m")
    assert (report.config.num_heads, report.config.text_num_heads, report.config.activation) == (3, 2, "gelu")


def test_tracker_pretrained_follows_the_originals_words():
    assert [pretrained(v) for v in (True, "1", "Yes", "T", "/a/weights.pth")] == [True] * 5
    assert [pretrained(v) for v in (False, "0", "no", "", "abc")] == [False] * 5


def test_a_key_bias_is_accepted_for_it_has_no_effect(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "hf_videomae_cls")))
    name = "videomae.encoder.layer.1.attention.attention.key.bias"
    state[name] = np.ones(48, np.float32)
    config = settings(golden, "hf_videomae_cls")
    report = convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=config)
    assert "no effect through the softmax" in report.ignored[name]
