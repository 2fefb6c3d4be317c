"""Whatever is wrong with the input: exit code 2, one or two lines that name it and the remedy, and nothing written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.cli.tiny import FAST, Said, save_model, tree, vtcd
from tests.converters.torch_writer import call, read_plain_safetensors, write_torch
from tests.data.video.videos import numbered, write, write_audio

pytestmark = pytest.mark.compile

LINES = 2


def refused(said: Said, *words: object, lines: int = LINES) -> None:
    """Checks code and message."""
    assert said.code == 2, said
    assert said.out == "" and said.err.startswith("vtcd: ") and said.err.count("vtcd: ") == 1
    assert 1 <= len(said.err.splitlines()) <= lines, said.err
    assert "Traceback" not in said.err
    for word in words:
        assert str(word) in said.err, said.err


def run_refused(tmp_path: Path, *arguments: object, words: tuple = (), lines: int = LINES) -> None:
    """``vtcd run`` with these arguments is refused, and the disk is as before."""
    before = tree(tmp_path)
    refused(vtcd("run", *arguments, "--out", tmp_path / "runs" / "out"), *words, lines=lines)
    assert tree(tmp_path) == before and not (tmp_path / "runs").exists()


# -- clips ----------------------------------------------------------------------------------------------------------
def truncated(folder: Path) -> Path:
    path = write(folder / "cut.mp4", numbered(40))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def corrupt(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (20, 48, 64, 3), dtype=np.uint8)
    path = write(folder / "bad.mp4", frames, muxer={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = rng.bytes(2000)  # over the bounds of a frame: H.264 itself has no checksums
    path.write_bytes(data)
    return path


def text(folder: Path) -> Path:
    path = folder / "notes.mp4"
    path.write_text("these are notes, not frames\n" * 50)
    return path


def empty(folder: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def short(folder: Path) -> Path:
    return write(folder / "short.mp4", numbered(14))  # eight frames at stride two need fifteen


def audio(folder: Path) -> Path:
    return write_audio(folder / "song.mp4")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (truncated, ("cut.mp4", "cut short", "copy or download it again")),
        (corrupt, ("bad.mp4", "damaged", "re-encode or replace")),
        (text, ("notes.mp4", "not a video", "give mp4, webm")),
        (empty, ("empty.mp4", "the file is empty", "copy or download it again")),
        (short, ("short.mp4", "too short", "14 frames", "need 15", "repeat-last")),
        (audio, ("song.mp4", "audio only", "give a video")),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_a_clip_that_cannot_be_used(tmp_path, model, make: Callable[[Path], Path], words, alone):
    folder = tmp_path / "clips"
    folder.mkdir()
    path = make(folder)
    if not alone:
        write(folder / "good.mp4", numbered(20))
    run_refused(tmp_path, path if alone else folder, "--model", model, words=words, lines=1)


def test_every_bad_clip_has_its_own_line(tmp_path, model):
    for make in (truncated, text, short, audio):
        make(tmp_path)
    run_refused(tmp_path, tmp_path, "--model", model, words=("cut.mp4", "notes.mp4", "short.mp4", "song.mp4"), lines=4)


def test_no_clips(tmp_path, model):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "readme.txt").write_text("clips are elsewhere")
    run_refused(tmp_path, tmp_path / "clips", "--model", model, words=(tmp_path / "clips", "no clip", "mp4"), lines=1)
    run_refused(tmp_path, tmp_path / "none", "--model", model, words=(tmp_path / "none", "no such file"), lines=1)
    for count in ("x", "0", "-3", ""):
        run_refused(tmp_path, f"world:{count}", "--model", model, words=(f"world:{count}", "world:32"), lines=1)


def test_short_clips_can_be_stretched(tmp_path, model):
    said = vtcd("run", short(tmp_path), "--model", model, "--out", tmp_path / "r", "--sampling.short", "repeat-last",
                "--dry-run")  # fmt: skip
    assert said.code == 0 and "clips      1 ranked" in said.out


def test_labels_that_do_not_fit(tmp_path, model):
    write(tmp_path / "a.mp4", numbered(20))
    labels = tmp_path / "labels.json"
    for content, words in (
        ('{"a": "roling left"}', ("unknown class 'roling left'", "'rolling left'")),
        ('{"b": "rolling left"}', ("names none of the 1 clips", "a.mp4")),
        ("{", ("not a JSON file",)),
    ):
        labels.write_text(content)
        run_refused(tmp_path, tmp_path / "a.mp4", "--model", model, "--labels", labels, words=(labels, *words))
    run_refused(tmp_path, "world:2", "--model", model, "--labels", labels, words=(labels, "leave it out"))


# -- checkpoints ----------------------------------------------------------------------------------------------------
@pytest.fixture
def state(golden) -> dict[str, np.ndarray]:
    return dict(read_plain_safetensors(golden / "models" / "videomae_ft_tiny.safetensors"))


def convert_refused(tmp_path, checkpoint: Path, golden, *words: object, lines: int = LINES) -> None:
    before = tree(tmp_path)
    config = golden / "models" / "videomae_ft_tiny.json"
    refused(vtcd("convert", checkpoint, tmp_path / "out", "--config", config), *words, lines=lines)
    assert tree(tmp_path) == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin"])
def test_an_empty_checkpoint(tmp_path, golden, suffix):
    path = tmp_path / f"model{suffix}"
    path.touch()
    convert_refused(tmp_path, path, golden, path, "empty (0 bytes)", "download or copy it again", lines=1)


def test_a_pickle_that_runs_a_program(tmp_path, golden, state):
    marker = tmp_path / "it-ran"
    for name in ("os.system", "posix.system", "subprocess.call", "builtins.eval"):
        command = f"open({str(marker)!r}, 'w')" if name == "builtins.eval" else f"touch {marker}"
        path = write_torch(tmp_path / f"{name}.pth", {**state, "epoch": call(name, command)})
        convert_refused(tmp_path, path, golden, path, name)
    assert not marker.exists()
    os.system(f"touch {marker}")  # the marker would have told
    assert marker.exists()


def test_a_checkpoint_of_another_architecture(tmp_path, golden):
    layers = {f"layer{i}.0.conv{j}.weight": np.zeros((8, 8, 3, 3), np.float32) for i in (1, 2) for j in (1, 2)}
    path = write_torch(tmp_path / "resnet.pth", {"state_dict": {**layers, "fc.weight": np.zeros((5, 8), np.float32)}})
    convert_refused(tmp_path, path, golden, path, "videomae-classifier", lines=8)


def test_missing_and_extra_tensors(tmp_path, golden, state):
    del state["blocks.1.norm2.weight"], state["head.bias"]
    state["blocks.1.adapter.weight"] = np.zeros((4, 4), np.float32)
    path = write_torch(tmp_path / "x.pth", {"model": state})
    words = ("blocks.1.adapter.weight", "block_1/norm_2/scale", "head/bias")
    convert_refused(tmp_path, path, golden, path, *words, lines=1 + len(words))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(tmp_path, golden, state, value):
    state["blocks.2.mlp.fc1.weight"] = state["blocks.2.mlp.fc1.weight"].copy()
    state["blocks.2.mlp.fc1.weight"][3, 4] = value
    path = write_torch(tmp_path / "x.pth", state)
    convert_refused(tmp_path, path, golden, path, "blocks.2.mlp.fc1.weight")


def test_a_model_folder_is_not_overwritten_unasked(tmp_path, golden):
    checkpoint, config = (golden / "models" / f"videomae_ft_tiny.{kind}" for kind in ("safetensors", "json"))
    save_model(tmp_path / "out")
    before = tree(tmp_path)
    refused(vtcd("convert", checkpoint, tmp_path / "out", "--config", config), tmp_path / "out", "--overwrite", lines=1)
    assert tree(tmp_path) == before


# -- model folders --------------------------------------------------------------------------------------------------
def set_config(**fields) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **fields}))

    return change


def set_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "params.safetensors")
        change(tensors)
        save_file(tensors, folder / "params.safetensors")

    return rewrite


def poison(value: float) -> Callable[[Path], None]:
    return set_tensors(lambda t: t["block_1/mlp/fc_1/kernel"].__setitem__((0, 0), value))


def put(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


BROKEN = {
    "not JSON": (put("config.json", "{"), ("config.json", "not JSON", "convert")),
    "a list": (put("config.json", "[1]"), ("JSON", "convert")),
    "no family": (put("config.json", "{}"), ("unknown model family ''", "videomae-classifier", "convert")),
    "no config": (lambda folder: (folder / "config.json").unlink(), ("config.json is missing", "convert")),
    "a text for a size": (set_config(width="wide"), ("convert",)),
    "heads that do not divide": (set_config(num_heads=5), ("convert",)),
    "no heads": (set_config(num_heads=0), ("convert",)),
    "frames that do not divide": (set_config(num_frames=7), ("convert",)),
    "frames against preprocessing": (set_config(num_frames=16), ("[batch, 16, 24, 24, 3]", "convert")),
    "an unknown setting": (set_config(witdh=24), ("unknown setting 'witdh'", "'width'")),
    "another family": (set_config(family="resnet"), ("unknown model family 'resnet'", "videomae-classifier")),
    "no colours": (
        set_config(preprocessing={"num_frames": 8, "height": 24, "width": 24, "std": [0, 1, 1]}),
        ("config.json", "std > 0"),
    ),
    "few labels": (put("labels.json", '["a"]'), ("labels.json", "5 class names")),
    "labels that are none": (put("labels.json", "[1, 2, 3, 4, 5]"), ("convert",)),
    "no list of labels": (put("labels.json", "3"), ("convert",)),
    "no labels": (lambda folder: (folder / "labels.json").unlink(), ("labels.json is missing", "convert")),
    "half the parameters": (
        lambda folder: os.truncate(folder / "params.safetensors", 3000),
        ("params.safetensors", "cannot be read", "convert"),
    ),
    "no bytes": (lambda folder: os.truncate(folder / "params.safetensors", 0), ("params.safetensors", "convert")),
    "no parameters": (lambda folder: (folder / "params.safetensors").unlink(), ("params.safetensors", "convert")),
    "a missing tensor": (set_tensors(lambda t: t.pop("head/bias")), ("params.safetensors", "missing head/bias")),
    "an extra tensor": (set_tensors(lambda t: t.update(x=np.zeros(3))), ("params.safetensors", "unknown x")),
    "NaN": (poison(np.nan), ("block_1/mlp/fc_1/kernel", "not finite", "again")),
    "infinity": (poison(np.inf), ("block_1/mlp/fc_1/kernel", "not finite", "again")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_folder(tmp_path, model, name):
    change, words = BROKEN[name]
    broken = shutil.copytree(model, tmp_path / "broken-model")
    change(broken)
    run_refused(tmp_path, "world:4", "--model", broken, words=(broken, *words))


def test_parameters_of_other_shapes(tmp_path, model):
    broken = shutil.copytree(model, tmp_path / "broken-model")
    set_config(num_classes=7)(broken)
    words = ("params.safetensors", "head/bias has shape (5,), the config says (7,)", "head/kernel")
    run_refused(tmp_path, "world:4", "--model", broken, words=words, lines=3)


def test_an_unknown_model(tmp_path):
    run_refused(tmp_path, "world:4", "--model", "videomae-xxl", words=("'videomae-xxl'", "vtcd convert"), lines=1)


# -- settings -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "roling left"), ("'roling left'", "nearest: 'rolling left'")),
        (("--target", "5"), ("5", "5 classes")),
        (("--target", "-1"), ("'-1'", "nearest")),
        (("--chunk", "0"), ("--chunk 0", "at least 1")),
        (("--chunk", "-2"), ("--chunk -2", "at least 1")),
        (("--masks", "1"), ("--masks 1", "at least 2")),
        (("--ratio", "1.5"), ("--ratio 1.5", "between 0 and 1")),
        (("--ratio", "0.3"), ("--ratio 0.3", "'folded-hadamard'", "--design random or bernoulli")),
        (("--stop-top", "0"), ("--stop-top 0", "at least 1")),
        (("--design", "leave-one-out", "--stop"), ("leave-one-out", "leave out --estimator and --stop")),
        (("--mode", "neg_inf", "--site", "value"), ("--mode neg_inf", "--site value", "another --mode")),
        (("--ratio", "nan"), ("--ratio nan", "between 0 and 1")),
        (("--hold-out", "1"), ("--hold-out 1", "[0, 1)")),
        (("--steps", "0"), ("--steps 0", "at least 1")),
        (("--repeats", "0"), ("--repeats 0", "at least 1")),
        (("--top", "0"), ("--top 0", "at least 1")),
        (("--scores", "acuracy"), ("unknown score 'acuracy'", "'accuracy'")),
        (("--scores", "reconstruction"), ("--scores reconstruction", "'log_probability'")),
        (("--slic.n-segments", "0"), ("n_segments", "1..100")),
        (("--nmf.elbow.maximum", "1"), ("maximum must be at least 2",)),
        (("--nmf.method", "nmf"), ("features >= 0", "convex-nmf")),
        (("--sampling.stride", "0"), ("stride must be at least 1",)),
        (("--resume", "--overwrite"), ("--resume", "--overwrite", "exclude each other")),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be(tmp_path, model, options, words):
    run_refused(tmp_path, "world:4", "--model", model, *options, words=words, lines=1)


def test_settings_that_do_not_fit_an_autoencoder(tmp_path, autoencoder):
    job = ("world:4", "--model", autoencoder)
    run_refused(tmp_path, *job, "--target", "0", words=("--target '0'", "has no classes", "leave it out"))
    run_refused(tmp_path, *job, "--scores", "accuracy", words=("--scores accuracy", "'reconstruction'"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("demo", "run", "convert")),
        (("run",), ("CLIPS", "--model", "--out")),
        (("run", "world:4", "--out", "x"), ("--model",)),
        (("convert", "x.pth"), ("OUT",)),
        (("rank",), ("RUN",)),
        (("rnu", "world:4"), ("rnu",)),
        (("run", "world:4", "--model", "m", "--out", "x", "--mask", "4"), ("--mask",)),
        (("run", "world:4", "--model", "m", "--out", "x", "--masks", "four"), ("--masks", "four")),
        (("run", "world:4", "--model", "m", "--out", "x", "--site", "mixed"), ("--site", "key", "query", "value")),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    said = vtcd(*arguments)
    assert said.code == 2 and said.out == "" and list(tmp_path.iterdir()) == []
    for word in (*words, "--help"):
        assert word in said.err, said.err
    assert "tyro" not in said.err


# -- the output folder ----------------------------------------------------------------------------------------------
HOLD = "import pathlib, sys; from vtcd_jax.runs.lock import acquire\nlock = acquire(pathlib.Path(sys.argv[1]))\n"


def test_an_output_folder_in_use(finished, job, root):
    code = HOLD + "print('held', flush=True); sys.stdin.read()"
    before = tree(finished)
    with subprocess.Popen(
        [sys.executable, "-c", code, finished], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        held = tree(finished)
        for command in (("rank", finished), (*job, "--out", finished, "--resume"), (*job, "--out", finished)):
            refused(vtcd(*command), finished, f"in use by process {other.pid}", "give another folder", lines=1)
            assert tree(finished) == held
        other.stdin.close()
        assert other.wait() == 0
    assert {name for name in held if name not in before} == {".lock", ".owner"}
    for name in (".lock", ".owner"):
        (finished / name).unlink()


def test_an_output_folder_with_other_things(tmp_path, model):
    for options in ((), ("--resume",), ("--overwrite",)):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "thesis.tex").write_text("years of work")
        before = tree(tmp_path)
        said = vtcd("run", "world:4", "--model", model, "--out", tmp_path / "out", *options)
        refused(said, tmp_path / "out", "thesis.tex", "give a new folder", lines=1)
        assert tree(tmp_path) == before
    before = tree(model)
    refused(vtcd("run", "world:4", "--model", model, "--out", model), model, "give a new folder", lines=1)
    assert tree(model) == before


def test_a_run_is_not_overwritten_unasked(finished, job):
    before = tree(finished)
    refused(vtcd(*job, "--out", finished), finished, "--resume or --overwrite", lines=1)
    assert tree(finished) == before


def test_a_file_in_the_place_of_a_folder(tmp_path, model):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "deep" / "run"):
        refused(vtcd("run", "world:4", "--model", model, "--out", out), out, "is a file", "folder", lines=1)
    assert tree(tmp_path) == {"file": b"x"}


@pytest.mark.parametrize("command", ["rank", "curves", "report"])
def test_going_on_with_what_is_no_run(tmp_path, model, command):
    refused(vtcd(command, tmp_path / "none"), tmp_path / "none", "is not a run folder", "vtcd run", lines=1)
    refused(vtcd(command, model), model, "is not a run folder", lines=1)
    (tmp_path / "config.json").write_text('{"format": "vtcd-run/1", "settings": {"clips": "world:4"}}')
    refused(vtcd(command, tmp_path), tmp_path, "begin a new run", lines=1)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_going_on_when_the_model_changed(job, model, finished, tmp_path):
    other = save_model(tmp_path / "models" / "tiny", seed=1)
    said = vtcd(*job, "--model", other, "--out", finished, "--resume")
    refused(said, finished, "model.params.safetensors", "settings.model", "--overwrite")
    assert "labels.json" not in said.err  # only the parameters and the folder differ


def test_going_on_when_a_clip_or_the_model_changed(model, tmp_path):
    """Whichever command goes on, it names the difference and touches nothing."""
    clips, out = tmp_path / "clips", tmp_path / "run"
    clips.mkdir()
    for i in range(2):
        write(clips / f"{i}.mp4", numbered(20 + i)[i:])
    own = shutil.copytree(model, tmp_path / "model")
    assert vtcd("discover", clips, "--model", own, "--hold-out", "0", *FAST, "--out", out).code == 0
    changes = {
        "clips.1.mp4: ": lambda: shutil.copy(clips / "0.mp4", clips / "1.mp4"),
        "clips.2.mp4: (none) -> ": lambda: write(clips / "2.mp4", numbered(30)[9:]),
        "model.labels.json: ": lambda: (own / "labels.json").write_text('["a", "b", "c", "d", "e"]'),
        "model.params.safetensors: ": lambda: poison(2.0)(own),
        "model.notes.txt: (none) -> ": lambda: (own / "notes.txt").write_text("mine"),
    }
    whole, commands = tree(tmp_path), [("rank", out), ("rank", out, "--shard", "1/2"), ("report", out)]
    for difference, change in changes.items():
        change()
        before = tree(tmp_path)
        for command in commands if difference.startswith("clips.1") else commands[:1]:
            refused(vtcd(*command), f"{out}: was begun with other settings: {difference}", "--overwrite")
            assert tree(tmp_path) == before
        restore(tmp_path, whole)
    assert vtcd("rank", out).code == 0


def restore(folder: Path, files: dict[str, bytes]) -> None:
    for name in tree(folder).keys() - files.keys():
        (folder / name).unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_an_unexpected_failure_is_one_line_and_exit_code_1(model, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("vtcd_jax.jobs.vtcd.inputs.open_sources", broken)
    arguments = ("run", "world:4", "--model", model, "--out", tmp_path / "out")
    said = vtcd(*arguments)
    assert said.code == 1 and said.err == "vtcd: failed: ZeroDivisionError: division by zero (--debug shows where)\n"
    with pytest.raises(ZeroDivisionError):
        vtcd(*arguments, "--debug")
