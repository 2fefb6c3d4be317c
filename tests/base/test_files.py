"""Files and model folders are whole or absent, and their bytes depend on their content alone."""

from __future__ import annotations

import errno
import functools
import json
import os

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from vtcd_jax import models
from vtcd_jax.base import files
from vtcd_jax.models import InputError
from vtcd_jax.models.families import videomae

TINY = videomae.VideoMAEConfig(image_size=16, patch_size=8, num_frames=2, width=8, depth=1, num_heads=2, num_classes=2)


@functools.cache
def tiny(seed: int = 0) -> models.Model:
    return models.build(TINY, labels=("a", "b"), key=jax.random.key(seed))


def test_arrays_come_back_and_the_bytes_repeat(tmp_path):
    arrays = {"b": np.arange(6, dtype=np.int32).reshape(2, 3), "a": np.float32(1.5), "c": np.zeros((0, 2), bool)}
    for name in ("one", "two"):
        files.save_safetensors(tmp_path / name, dict(reversed(arrays.items())), {"note": "x"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for name, array in load_file(tmp_path / "one").items():
        np.testing.assert_array_equal(array, arrays[name])


def test_arrays_are_made_one_at_a_time(tmp_path):
    alive: list[str] = []

    def make(name):
        alive.append(name)
        return np.full(3, len(alive), np.float32)

    lazy = {name: ((3,), "float32", lambda n=name: make(n)) for name in "cab"}
    files.save_safetensors(tmp_path / "x", lazy)
    assert alive == ["a", "b", "c"]
    np.testing.assert_array_equal(load_file(tmp_path / "x")["c"], [3, 3, 3])


def test_a_full_disk_leaves_the_old_file_and_no_half_of_the_new(tmp_path, monkeypatch):
    files.write_text(tmp_path / "x.txt", "old")
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_text(tmp_path / "x.txt", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"] and (tmp_path / "x.txt").read_text() == "old"


def full_disk(_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_model_folder_comes_back_the_same(tmp_path):
    model = tiny(1)
    models.save(model, tmp_path / "m", manifest={"source": "here"})
    again = models.load(tmp_path / "m")
    assert again.config == TINY and again.labels == ("a", "b") and again.preprocessing == model.preprocessing
    jax.tree.map(np.testing.assert_array_equal, again.params, model.params)
    with pytest.raises(InputError, match="exists"):
        models.save(model, tmp_path / "m", manifest={})


def test_replacing_a_model_that_fails_keeps_the_old_one(tmp_path, monkeypatch):
    model = tiny()
    models.save(model, tmp_path / "m", manifest={})
    before = (tmp_path / "m" / "params.safetensors").read_bytes()
    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError):
        models.save(tiny(1), tmp_path / "m", manifest={}, overwrite=True)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert (tmp_path / "m" / "params.safetensors").read_bytes() == before
    models.save(tiny(1), tmp_path / "m", manifest={}, overwrite=True)
    assert (tmp_path / "m" / "params.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "config.json").unlink(), r"config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), r"config.json is not JSON"),
        (lambda f: edit(f, family="vgg"), r"unknown model family 'vgg'; known: .*videomae"),
        (lambda f: edit(f, widht=8), r"unknown setting 'widht'; nearest: 'width'"),
        (lambda f: edit(f, width=16), r"norm_1/scale has shape \(8,\), the config says \(16,\)"),
        (lambda f: edit(f, depth=2), r"missing block_1/attn/key/kernel"),
        (lambda f: (f / "params.safetensors").write_bytes(b""), r"cannot be read"),
        (lambda f: truncate(f / "params.safetensors"), r"cannot be read"),
    ],
)
def test_a_damaged_model_folder_is_refused_with_its_file(tmp_path, damage, message):
    models.save(tiny(), tmp_path / "m", manifest={})
    damage(tmp_path / "m")
    with pytest.raises(InputError, match=message):
        models.load(tmp_path / "m")


def edit(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def test_an_unknown_model_is_named_with_what_there_is(tmp_path):
    with pytest.raises(InputError, match="no model 'nowhere'.*shipped are"):
        models.load("nowhere")


def test_preprocessing_is_the_papers():
    p = models.Preprocessing(1, 2, 2)
    video = np.array([[0, 128, 255]], np.uint8)
    expected = (video / 255.0 - np.array(p.mean)) / np.array(p.std)
    np.testing.assert_allclose(p.normalise(video), expected, atol=1e-6)


def test_names_that_are_no_utf8_come_back_from_json(tmp_path):
    name = os.fsdecode(b"clips \xff/\xc3\xa9")
    files.write_json(tmp_path / "x.json", {"clips": name, name: [name]})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")  # readable by any program
    assert json.loads(text) == {"clips": name, name: [name]} and "é" in text


def test_names_that_are_no_utf8_are_spelled_out_in_texts(tmp_path):
    files.write_text(tmp_path / "x.csv", os.fsdecode(b"\xff,\xc3\xa9\n"))
    assert (tmp_path / "x.csv").read_bytes() == b"\\xff,\xc3\xa9\n"
