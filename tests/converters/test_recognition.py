"""Containers, prefixes, training states and settings in the file are recognised, and said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .tools import assert_same, convert_only, params, settings, source
from .torch_writer import Namespace, read_plain_safetensors, write_torch


@pytest.mark.parametrize("container", ["module", "model", "state_dict", "model_ema", None])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module._orig_mod."])
def test_containers_and_prefixes_are_undone_and_reported(golden, tmp_path, container, prefix):
    state = {prefix + k: v for k, v in read_plain_safetensors(source(golden, "videomae_ft")).items()}
    value = {container: state, "epoch": 1, "args": Namespace({"lr": 1.0})} if container else state
    path = write_torch(tmp_path / "x.pth", value)
    report = convert_only(path, tmp_path / "m", config=settings(golden, "videomae_ft"), dry_run=True)
    assert (f"weights under {container!r}" if container else "a bare state dict") in report.why
    assert all(repr(part + ".") in report.why for part in prefix.split(".") if part)
    assert container is None or report.ignored["epoch"] == "not the weights"


def test_plain_weights_go_before_averaged_ones(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    averaged = {k: v + 1 for k, v in state.items()}
    path = write_torch(tmp_path / "x.pth", {"model_ema": averaged, "module": state})
    report = convert_only(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    assert report.ignored == {"model_ema": "averaged weights, not taken; --weights model_ema takes them"}
    np.testing.assert_array_equal(params(tmp_path / "m")["head/bias"], state["head.bias"])


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
    convert_only(source(golden, "videomae_pretrain"), tmp_path / "ref", config=settings(golden, "videomae_pretrain"))
    report = convert_only(tmp_path / "x.pth", tmp_path / "x", config={"num_heads": 3, "decoder_num_heads": 2})
    convert_only(tmp_path / "y.pth", tmp_path / "y", config=settings(golden, "videomae_pretrain"))
    assert (report.config.mask_ratio, report.config.image_size) == (0.75, 32)
    for name in "xy":
        assert_same(params(tmp_path / "ref"), params(tmp_path / name))


def test_arguments_in_the_checkpoint_are_read(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_pretrain"))
    args = Namespace(
        {"input_size": 32, "mask_ratio": 0.75, "num_frames": 16, "lr": 1e-3, "decoder_depth": 9, "opt": None}
    )
    path = write_torch(tmp_path / "x.pth", {"model": state, "args": args})
    report = convert_only(path, tmp_path / "m", config={"num_heads": 3, "decoder_num_heads": 2})
    assert (report.config.image_size, report.config.mask_ratio, report.config.decoder_depth) == (32, 0.75, 2)
    assert report.ignored["args"] == "read for settings"
