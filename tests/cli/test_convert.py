"""`vtcd convert`: what it prints, checks and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.cli.tiny import save_model, tree, vtcd
from tests.converters.torch_writer import read_plain_safetensors, write_torch
from tests.models.reference import channels_last
from vtcd_jax import models
from vtcd_jax.data import write_video
from vtcd_jax.models import InputError
from vtcd_jax.scores.accuracy import check_accuracy, wilson

pytestmark = pytest.mark.compile


@pytest.fixture
def tiny(golden):
    return [golden / "models" / f"videomae_ft_tiny{end}" for end in (".safetensors", ".json", "_io.npz")]


def test_a_recording_is_compared_and_the_table_printed(tiny, tmp_path):
    checkpoint, config, io = tiny
    with np.load(io) as arrays:
        recorded = {"video": channels_last(arrays["video"]), "logits": arrays["logits"]}
    np.savez(tmp_path / "io.npz", **recorded)
    said = vtcd("convert", checkpoint, tmp_path / "m", "--config", config, "--verify", tmp_path / "io.npz")
    assert said.code == 0, said.err
    assert "verified: logits  2x7  " in said.out and "1 recorded arrays within" in said.out
    np.savez(tmp_path / "io.npz", **recorded | {"logits": recorded["logits"] * 1.01})
    said = vtcd("convert", checkpoint, tmp_path / "n", "--config", config, "--verify", tmp_path / "io.npz")
    assert said.code == 2 and "first at logits, by 9.9e-03 (--tolerance 0.0001)" in said.err
    assert not (tmp_path / "n").exists()
    options = ("--verify", tmp_path / "io.npz", "--tolerance", "0.02")
    assert vtcd("convert", checkpoint, tmp_path / "n", "--config", config, *options).code == 0


def test_tensors_are_ignored_by_several_patterns(tiny, tmp_path):
    checkpoint, config, _ = tiny
    state = dict(read_plain_safetensors(checkpoint)) | {"a.x": np.zeros(1, np.float32), "b.x": np.zeros(1, np.float32)}
    path = write_torch(tmp_path / "x.pth", state)
    options = ("--config", config, "--no-sanity", "--dry-run")
    assert vtcd("convert", path, tmp_path / "m", *options, "--ignore", "a.*").code == 2
    said = vtcd("convert", path, tmp_path / "m", *options, "--ignore", "a.*", "--ignore", r"b\.x")
    assert said.code == 0 and "ignored: a.x (ignored on request)" in said.out and "ignored: b.x" in said.out
    assert "sanity:" not in said.out


# -- accuracy on one's own clips -----------------------------------------------------------------------------------
@pytest.fixture
def clips(tmp_path):
    """Three clips of 32 x 32 pixels."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b", "c"):
        frames = np.repeat(rng.integers(0, 256, (1, 32, 32, 3)), 24, axis=0) // 2 + rng.integers(0, 100, (24, 1, 1, 3))
        write_video(folder / f"{name}.mp4", frames.astype(np.uint8))
    return folder


def test_accuracy_on_labelled_clips_is_reported(tiny, tmp_path, clips):
    checkpoint, config, _ = tiny
    predicted = predictions(checkpoint, config, tmp_path, clips)
    wrong = next(name for name in (f"class_{i}" for i in range(7)) if name != predicted["b"])
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"a": predicted["a"], "b": wrong}))
    said = vtcd("convert", checkpoint, tmp_path / "m", "--config", config, "--check", clips, labels, "--quiet")
    assert said.code == 0, said.err
    assert "checked on 2 clips, 1 without a label left out" in said.out
    assert "top-1 accuracy 50.0% (95 % interval 9.5% to 90.5%)" in said.out
    assert f"wrong: b.mp4 is '{wrong}', taken for '{predicted['b']}' (rank " in said.out


def predictions(checkpoint, config, tmp_path, clips) -> dict[str, str]:
    """Clip -> most probable class, by a path of its own."""
    from vtcd_jax.converters import convert
    from vtcd_jax.data import read_clips

    convert(checkpoint, tmp_path / "reference", config=config, sanity=False)
    model = models.load(tmp_path / "reference")
    read = read_clips(clips, model)
    logits = models.forward(model, models.Inputs(model.preprocessing.normalise(read.video)))[0].logits
    return {name[0]: model.labels[int(i)] for name, i in zip(read.names, logits.argmax(-1), strict=True)}


@pytest.mark.parametrize(
    ("labels", "says"),
    [({"z": "rolling left"}, "names none of the 3 clips"), ({"a": "flying"}, "unknown class 'flying'")],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, clips, labels, says):
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    model = models.load(save_model(tmp_path / "m"))
    with pytest.raises(InputError, match=says):
        check_accuracy(model, clips, tmp_path / "labels.json")


def test_checks_that_cannot_be_made_are_refused_before_the_work(tiny, tmp_path, clips):
    checkpoint, config, _ = tiny
    before = tree(tmp_path)
    (tmp_path / "labels.json").write_text("{}")
    for check, option, says in (
        ((clips, tmp_path / "labels.json"), "--dry-run", "dry run"),
        ((tmp_path / "none", tmp_path / "labels.json"), "--quiet", "no such file or folder"),
        ((clips, tmp_path / "none.json"), "--quiet", "no such file"),
    ):
        said = vtcd("convert", checkpoint, tmp_path / "m", "--config", config, "--check", *check, option)
        assert said.code == 2 and says in said.err and len(said.err.splitlines()) == 1
    (tmp_path / "labels.json").unlink()
    assert tree(tmp_path) == before


def test_wilson_intervals_are_the_textbooks():
    """Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for right, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(right, of) == pytest.approx((low, high), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
