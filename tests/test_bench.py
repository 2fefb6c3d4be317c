"""The benchmark measures what it says: the same network on both sides, counted arithmetic, and no crash without torch.

Nothing here looks at how long anything took.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vtcd_jax.models.families import videomae

pytestmark = pytest.mark.compile

HAS_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture
def bench(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("bench")


@pytest.fixture
def bench_models(bench) -> ModuleType:
    return importlib.import_module("bench_models")


@pytest.mark.parametrize(("size", "published"), [("S", 57), ("B", 180), ("L", 597), ("H", 1192)])
def test_counted_operations_are_the_published_ones(bench, size, published):
    """Tong et al. (2022), counts billions of multiply-adds."""
    counted = bench.operations(videomae.classifier_config(size))
    assert counted["clip"] / 2e9 == pytest.approx(published, rel=0.02)
    assert counted["linear"] + counted["attention"] == counted["clip"]


@pytest.mark.skipif(not HAS_TORCH, reason="needs the extra `torch`")
def test_both_sides_compute_the_same_network(bench, capsys):
    settings = bench.Forward(tiny=True, pairs=2, masks=2, json=True)
    assert bench.main(settings) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["difference"] < 1e-5
    assert result["masks_matter"] > 100 * result["difference"]
    assert len(result["ours"]) == len(result["torch"]) == len(result["ratios"]) == 2
    bench.print_forward(result)
    assert "torch, as released" in capsys.readouterr().out


@pytest.mark.skipif(not HAS_TORCH, reason="needs the extra `torch`")
def test_a_torch_process_that_dies_is_reported(bench, monkeypatch):
    monkeypatch.setattr(bench.files, "save_safetensors", lambda path, tensors, metadata: Path(path).write_bytes(b""))
    with pytest.raises(SystemExit, match="torch process ended early, with exit status 1"):
        bench.measure_forward(bench.Forward(tiny=True, pairs=1, masks=2))


def test_without_torch_our_half_is_measured_and_the_remedy_named(bench, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert bench.main(bench.Forward(tiny=True, pairs=1, masks=2)) == 0
    printed = capsys.readouterr().out
    assert "python3 scripts/dev.py bench forward --torch" in printed
    assert "s per masked clip" in printed and "ratio pair" not in printed


def test_every_family_is_the_same_network_on_both_sides(bench, bench_models, capsys):
    assert bench.main(bench.Models(tiny=True, pairs=1, threads=1, json=True)) == 0
    result = json.loads(capsys.readouterr().out)
    rows = {row["network"]: row for row in result["networks"]}
    assert list(rows) == list(bench_models.TOYS)
    if HAS_TORCH:
        compared = {name: set(row["differences"]) for name, row in rows.items()}
        assert compared["TCOW"] == {"masks", "flags"} and compared["VideoMAE autoencoder"] == {"patches"}
        assert compared["CLIP text"] == {"text_features"} and compared["VideoMAE"] == {"logits"}
        assert compared["InternVideo-MM"] == compared["CLIP"] == {"logits", "video_features"}
        assert all(0 < value < 1e-5 for row in rows.values() for value in row["differences"].values())
    for row in rows.values():
        assert row["operations"] > 0 and row["matmul_rate"] > 0 and row["share"] > 0
        assert len(row["ours"]) == 1
        assert [len(row[field]) for field in ("torch", "ratios")] == [1, 1] if HAS_TORCH else row["torch"] is None


def test_several_published_networks_have_a_process_each(bench_models, capsys, monkeypatch):
    row = {
        "operations": 1,
        "ours": [1.0],
        "torch": [3.0],
        "ratios": [3.0],
        "share": 0.5,
        "differences": {"logits": 1e-6},
    }
    commands = []

    def measured(command, **settings):
        commands.append(command)
        answer = {"networks": [row | {"network": command[command.index("--only") + 1]}]}
        return subprocess.CompletedProcess(command, 0, json.dumps(answer))

    monkeypatch.setattr(subprocess, "run", measured)
    result = bench_models.measure_models(bench_models.Models(only=("VideoMAE-H", "CLIP-B/16 text"), pairs=3))
    assert [row["network"] for row in result["networks"]] == ["VideoMAE-H", "CLIP-B/16 text"]
    assert result["difference"] == 1e-6
    assert all(command[-5:] == ["--pairs", "3", "--threads", "2", "--json"] for command in commands)
    assert "3.00" in capsys.readouterr().out


def test_a_network_whose_process_dies_is_named(bench_models, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda command, **settings: subprocess.CompletedProcess(command, -9, ""))
    with pytest.raises(SystemExit, match="VideoMAE-S was not measured, its process ended with status -9"):
        bench_models.measure_models(bench_models.Models(json=True))


def test_a_network_that_there_is_not_is_refused_with_the_nearest_names(bench_models):
    with pytest.raises(SystemExit, match="no network 'ViCLIP-B16'; nearest: 'ViCLIP-B/16'"):
        bench_models.measure_models(bench_models.Models(only=("ViCLIP-B16",)))


def test_networks_that_differ_are_a_failure(bench, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measure_forward", lambda settings: {"difference": 2e-4})
    assert bench.main(bench.Forward(json=True)) == 1
    assert "differ by 2.0e-04" in capsys.readouterr().err


def test_attention_alone_is_the_same_three_ways(bench):
    result = bench.measure_attention(bench.Forward(tiny=True, pairs=1))
    assert result["shape"] == (1, 8, 2, 24)
    assert max(result["unfused_difference"], result["dot_product_attention_difference"]) < 1e-5


def test_memory_is_told_for_every_stage(bench, capsys):
    assert bench.main(bench.Memory(tiny=True, masks=4, concepts=2, json=True)) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["concepts"] <= 2 * 2 * 2
    peaks = result["peaks"]
    assert {"tubelets", "numbers", "dictionaries", "stability", "tokens", "ranking"} <= set(peaks)
    assert min(peaks.values()) > 2**25
    bench.memory.print_memory(result)
    said = capsys.readouterr().out
    assert "4 masks a clip" in said and said.count("GiB") == len(peaks)


def test_every_concept_lies_in_one_head_of_one_layer(bench):
    task = bench.problem(bench.TINY, 3, 2)
    assert task.support.concepts == 3 * 2 * 2
    places = [
        (int(i), site, head)
        for site, ids in task.support.ids.items()
        for head in range(2)
        for i in np.unique(ids[..., head, :])
        if i >= 0
    ]
    assert len({i for i, _, _ in places}) == len(places) > 6
    assert {(site, head) for _, site, head in places} == {(f"block_{b}/attn/key", h) for b in (0, 1) for h in (0, 1)}


def test_the_engine_is_measured_on_any_device(bench, capsys):
    """Masked clips per second, its share of the device's rate, the paper's job, and passes that begin later."""
    command = bench.Engine(tiny=True, masks=8, repeats=1, later=4, json=True)
    assert bench.main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["job_seconds"] == pytest.approx(120_000 / result["clips_per_second"])
    assert result["share"] == pytest.approx(
        result["clips_per_second"] * result["flop_per_clip"] / result["matmul_rate"], rel=1e-6
    )
    assert result["later_difference"] < 1e-5 and result["memory"] > 0
    assert result["moved"] == {"copy": 0, "transpose": 0}
    bench.print_engine(result)
    assert "30 clips x 4,000 masks" in capsys.readouterr().out


def test_moved_activations_are_read_from_a_program(bench):
    """Alone, and large enough: not inside a fused kernel, not small ones."""
    program = """
%fused_computation.1 (p: f32[8,100]) -> f32[100,8] {
  ROOT %transpose.1 = f32[100,8]{1,0} transpose(f32[8,100]{1,0} %p), dimensions={1,0}
}
ENTRY %main (a: f32[8,100]) -> f32[100,8] {
  %copy.2 = f32[8,100]{1,0} copy(f32[8,100]{1,0} %a)
  %copy.3 = f32[8]{0} copy(f32[8]{0} %b)
  ROOT %transpose.4 = f32[100,8]{1,0} transpose(f32[8,100]{1,0} %copy.2), dimensions={1,0}
}
"""
    moved = importlib.import_module("bench_importance").moved
    assert moved(program, 800) == {"copy": 1, "transpose": 1}
    assert moved(program, 801) == {"copy": 0, "transpose": 0}
