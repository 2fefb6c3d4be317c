"""`vtcd models`: what is shipped and converted, and everything about one model."""

from __future__ import annotations

import json

import jax
import pytest

from tests.cli.tiny import LABELS, save_model, vtcd
from vtcd_jax import models

pytestmark = pytest.mark.compile


def test_the_table_lists_shipped_and_converted_models(tmp_path):
    folder = save_model(tmp_path / "mine" / "deeper" / "tiny")
    (tmp_path / "mine" / "notes").mkdir()
    said = vtcd("models", tmp_path / "mine")
    assert said.code == 0 and said.err == ""
    lines = said.out.splitlines()
    assert lines[0].split() == ["model", "family", "clip", "parameters", "GMACs", "classes"]
    assert {line.split()[0] for line in lines[1 : 1 + len(models.names())]} == set(models.names())
    (row,) = [line for line in lines if line.startswith(str(tmp_path))]
    assert row.split()[:7] == [str(folder), "videomae-classifier", "8", "x", "24", "x", "24"]
    count = sum(leaf.size for leaf in jax.tree.leaves(models.load(folder).params))
    assert f"{count / 1e6:.3g} M" in row and row.split()[-1] == str(len(LABELS))
    assert lines[-1].startswith("families that `vtcd convert` supports: ")


def test_a_damaged_folder_does_not_hide_the_others(tmp_path):
    save_model(tmp_path / "a")
    save_model(tmp_path / "b")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    (tmp_path / "a" / "config.json").write_text(json.dumps(config | {"num_heads": 5}))
    said = vtcd("models", tmp_path, "--quiet")
    assert said.code == 0
    broken, whole = [line for line in said.out.splitlines() if line.startswith(str(tmp_path))]
    assert "damaged: " in broken and "config.json does not describe a network" in broken
    assert "videomae-classifier" in whole
    missing = vtcd("models", tmp_path / "none")
    assert missing.code == 2 and "no such folder" in missing.err and len(missing.err.splitlines()) == 1


def test_a_model_is_described_by_name_or_folder(tmp_path):
    folder = save_model(tmp_path / "tiny")
    said = vtcd("models", "--describe", folder)
    assert said.code == 0 and said.err == ""
    model = models.load(folder)
    words = (
        "num_heads = 2",
        "depth = 2",
        "stride = 2",
        "mean = [0.485, 0.456, 0.406]",
        *LABELS,
        'source = "random weights"',
    )
    assert [word for word in words if word not in said.out] == []
    shape = "x".join(map(str, models.sites(model)["block_1/attn/key"].shape))
    (line,) = [line.split() for line in said.out.splitlines() if "attn/key " in line]
    assert line == ["block_N/attn/key", shape, "N", "=", "0", "to", "1"]
    name = models.names()[0]
    assert vtcd("models", "--describe", name).out.startswith(f"{name}: ")
    wrong = vtcd("models", "--describe", "videomae-xxl")
    assert wrong.code == 2 and "videomae-xxl" in wrong.err
