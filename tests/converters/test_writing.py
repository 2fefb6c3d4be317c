"""Model folders appear whole or not at all, with the same bytes every time, and say where they come from."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.base import files
from vtcd_jax.models import InputError

from .tools import assert_same, convert_only, settings, source
from .torch_writer import read_plain_safetensors, write_torch


def test_two_conversions_give_the_same_bytes(golden, tmp_path):
    for folder in ("a", "b"):
        convert_only(source(golden, "videomae_ft"), tmp_path / folder, config=settings(golden, "videomae_ft"))
    found = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert found == ["config.json", "labels.json", "manifest.json", "params.safetensors"]
    for name in found:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_manifest_says_where_the_parameters_come_from(golden, tmp_path):
    import hashlib

    path = source(golden, "videomae_ft")
    convert_only(path, tmp_path / "m", config=settings(golden, "videomae_ft"))
    text = (tmp_path / "m" / "manifest.json").read_text()
    assert json.loads(text)["source_sha256"] == {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert str(tmp_path) not in text and str(path.parent) not in text


def test_orbax_folder_loads_to_the_same_parameters(golden, tmp_path):
    config = settings(golden, "videomae_ft")
    convert_only(source(golden, "videomae_ft"), tmp_path / "a", config=config)
    for overwrite in (False, True):
        convert_only(
            source(golden, "videomae_ft"), tmp_path / "b", config=config, format="orbax", overwrite=overwrite
        )  # fmt: skip
    a, b = (files.flatten(models.load(tmp_path / name).params) for name in "ab")
    assert_same({k: np.asarray(v) for k, v in a.items()}, {k: np.asarray(v) for k, v in b.items()})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_table_lists_every_tensor_and_what_was_assumed(golden, tmp_path):
    report = convert_only(
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


@pytest.mark.parametrize("format", ["safetensors", "orbax"])
@pytest.mark.parametrize("moment", ["params", "manifest"])
def test_a_full_disk_leaves_nothing(golden, tmp_path, monkeypatch, format, moment):
    from vtcd_jax.converters import writing

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    if moment == "manifest":
        monkeypatch.setattr(files, "write_json", full)
    elif format == "safetensors":
        calls = iter(range(100))
        made = writing.make
        monkeypatch.setattr(writing, "make", lambda fill: made(fill) if next(calls) < 20 else full())
    else:
        import orbax.checkpoint as ocp

        monkeypatch.setattr(ocp.StandardCheckpointer, "save", full)
    config = settings(golden, "videomae_ft")
    with pytest.raises(OSError, match="No space left"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=config, format=format)
    assert list(tmp_path.iterdir()) == []


def test_existing_folders_are_kept_unless_they_are_models(golden, tmp_path):
    config = settings(golden, "videomae_ft")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    for overwrite, says in ((False, "pass --overwrite"), (True, "is no model folder")):
        with pytest.raises(InputError, match=says):
            convert_only(source(golden, "videomae_ft"), tmp_path / "mine", config=config, overwrite=overwrite)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=config)
    with pytest.raises(InputError, match="exists"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=config)
    convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=config, labels=list("abcdefg"), overwrite=True)
    assert models.load(tmp_path / "m").labels == tuple("abcdefg")
    inside = tmp_path / "m" / "x.pth"
    write_torch(inside, read_plain_safetensors(source(golden, "videomae_ft")))
    with pytest.raises(InputError, match="holds the checkpoint itself"):
        convert_only(inside, tmp_path / "m", config=config, overwrite=True)
    with pytest.raises(InputError, match="unknown format 'pickle'"):
        convert_only(inside, tmp_path / "z", config=config, format="pickle")
