"""Everything that is wrong with a checkpoint is said at once, with nothing written."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.models import InputError

from .tools import convert_only, params, settings, source
from .torch_writer import call, read_plain_safetensors, write_torch


def test_all_problems_at_once(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    del state["blocks.2.attn.qkv.weight"], state["fc_norm.bias"]
    state["blocks.0.mlp.fc2.bias"] = np.zeros(9, np.float32)
    state["blocks.1.norm1.weight"] = np.full(48, np.nan, np.float32)
    state["blocks.1.norm2.bias"] = np.array([np.inf] + [0] * 47, np.float32)
    state["surprise.weight"] = np.zeros((2, 2), np.float32)
    state["blocks.0.norm1.bias"] = np.zeros(48, np.int64)
    with pytest.raises(InputError) as error:
        convert_only(
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
        convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_what_is_ignored_on_request_is_listed_and_what_it_fills_is_missed(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state |= {"loss.weight": np.zeros((2, 2), np.float32), "loss.bias": np.zeros(2, np.int64)}
    path, config = write_torch(tmp_path / "x.pth", {"module": state}), settings(golden, "videomae_ft")
    with pytest.raises(InputError, match=r"unexpected tensor loss.weight \[2, 2\]\n  unexpected tensor loss.bias"):
        convert_only(path, tmp_path / "m", config=config)
    report = convert_only(path, tmp_path / "m", config=config, ignore=(r"loss\.w.*", r"loss\.bias"))
    assert {report.ignored[name] for name in ("loss.weight", "loss.bias")} == {"ignored on request"}
    with pytest.raises(InputError, match=r"missing tensor head.bias \(for head/bias\)$"):
        convert_only(path, tmp_path / "n", config=config, ignore=(r"loss\..*", r"head\.bias"))


@pytest.mark.parametrize(
    ("pattern", "says"),
    [("loss", r"'loss' matches the whole name of no tensor; nearest: '"), ("(", "is no regular expression")],
)
def test_patterns_that_ignore_nothing_are_refused(golden, tmp_path, pattern, says):
    config = settings(golden, "videomae_ft")
    with pytest.raises(InputError, match=says):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=config, ignore=[pattern])
    assert list(tmp_path.iterdir()) == []


def test_block_numbers_out_of_all_proportion(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["blocks.999999.norm1.bias"] = np.zeros(48, np.float32)
    with pytest.raises(InputError, match="numbered up to 999999, but there are 4"):
        convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_overflow_on_the_way_to_float32_is_found(golden, tmp_path):
    state = dict(read_plain_safetensors(source(golden, "videomae_ft")))
    state["head.bias"] = np.full(7, 1e300)
    with pytest.raises(InputError, match="head.bias has 7 NaN or infinite"):
        convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_other_architectures_are_refused(golden, tmp_path):
    shapes = {"stem.conv.weight": (8, 3, 7, 7), "stage_1.0.conv.weight": (8, 8, 3, 3), "fc.weight": (3, 8)}
    cnn = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with pytest.raises(
        InputError, match="is not any known network .*; its 3 tensors under 'model' begin with stem.conv.weight"
    ):
        convert_only(write_torch(tmp_path / "cnn.pth", {"model": cnn}), tmp_path / "m")
    with pytest.raises(InputError, match="is not a checkpoint of videomae-pretrain"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", family="videomae-pretrain")
    with pytest.raises(InputError, match="unknown model family 'resnet'; known: .*videomae-classifier"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", family="resnet")
    with pytest.raises(InputError, match="holds no tensors by name"):
        convert_only(write_torch(tmp_path / "list.pth", [np.zeros(3, np.float32)]), tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["hf_sam", "sam_original", "tv_vgg", "tv_resnet_basic", "hf_mobilenet_v2"])
def test_networks_without_a_table_are_refused(shared, tmp_path, name):
    path = source(shared / "golden", name)
    if path.exists():
        with pytest.raises(InputError, match="is not any known network|cannot convert"):
            convert_only(path, tmp_path / "m")


def test_the_encoders_last_norm_is_there_or_not_as_in_the_file(golden, tmp_path):
    config = settings(golden, "hf_videomae_pretrain")
    report = convert_only(source(golden, "hf_videomae_pretrain"), tmp_path / "without", config=config)
    assert report.config.encoder_norm is False and "encoder/norm/scale" not in params(tmp_path / "without")
    state = dict(read_plain_safetensors(source(golden, "hf_videomae_pretrain")))
    state |= {f"videomae.layernorm.{part}": np.full(48, 2.0, np.float32) for part in ("weight", "bias")}
    report = convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "with", config=config)
    assert report.config.encoder_norm is True
    assert params(tmp_path / "with")["encoder/norm/scale"].tolist() == [2.0] * 48


def test_class_token_pooling_is_refused(golden, tmp_path):
    state = {k.replace("fc_norm", "norm"): v for k, v in read_plain_safetensors(source(golden, "videomae_ft")).items()}
    with pytest.raises(InputError, match="class-token pooling"):
        convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "m", config=settings(golden, "videomae_ft"))


def test_hostile_pickle_writes_and_runs_nothing(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    path = write_torch(tmp_path / "x.pth", {"model": state, "args": call("os.system", f"touch {tmp_path / 'owned'}")})
    with pytest.raises(InputError, match="os.system"):
        convert_only(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    assert [p.name for p in tmp_path.iterdir()] == ["x.pth"]
