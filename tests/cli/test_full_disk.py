"""A disk that is full at any moment: exit code 1, one line, no half file under a final name; then the run goes on."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.cli.tiny import assert_same, tree, vtcd
from vtcd_jax.runs import read_csv

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from vtcd_jax.cli import main
sys.exit(main(sys.argv[2:]))
"""


def assert_whole(folder: Path) -> None:
    """Every file can be read, and nothing temporary is left."""
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert not path.name.endswith(".part") and path.name != ".lock"
        if path.suffix == ".safetensors":
            assert load_file(path)
        elif path.suffix == ".csv":
            assert read_csv(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            assert np.load(path).files
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")


def assert_full(said_err: str, out: Path, reason: str) -> None:
    last = said_err.splitlines()[-1]
    assert last.startswith("vtcd: ") and reason in last and "no half-written file" in last and "--resume" in last
    assert str(out) in last and said_err.count("vtcd: ") == 1 and "Traceback" not in said_err


def test_a_disk_that_fills_up_again_and_again(finished, job, tmp_path, monkeypatch):
    out, room, fsync = tmp_path / "run", [0], os.fsync

    def full(descriptor: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr("vtcd_jax.models.files.os.fsync", full)
    held = []
    for files in (0, 2, 4, 3, 5, 4, 6, 2):  # in turn within settings, concepts, scores, tables, held-out concepts, page
        room[0] = files
        said = vtcd(*job, "--out", out, "--resume")
        assert said.code == 1
        assert_full(said.err, out, "No space left on device")
        assert_whole(out)
        held.append(len(tree(out)))
    assert held[0] == 0 and held[-1] > 20
    monkeypatch.undo()
    assert vtcd(*job, "--out", out, "--resume").code == 0
    assert_same(out, finished)


def test_a_file_that_may_not_grow(finished, job, tmp_path, root):
    """The same with a real limit: settings fit, concepts do not."""
    out = tmp_path / "run"
    limit = (finished / "config.json").stat().st_size + 100
    assert limit < (finished / "concepts.safetensors").stat().st_size
    command = [sys.executable, "-c", LIMITED, str(limit), *map(str, job), "--out", str(out), "--quiet"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "", done.stderr
    assert_full(done.stderr, out, "File too large")
    assert_whole(out)
    assert "config.json" in tree(out) and "concepts.safetensors" not in tree(out)
    assert vtcd(*job, "--out", out, "--resume").code == 0
    assert_same(out, finished)


def test_a_conversion_on_a_full_disk_leaves_nothing(golden, tmp_path, monkeypatch):
    checkpoint, config = (golden / "models" / f"videomae_ft_tiny.{kind}" for kind in ("safetensors", "json"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vtcd_jax.models.files.os.fsync", full)
    said = vtcd("convert", checkpoint, tmp_path / "model", "--config", config)
    assert said.code == 1 and said.out == "" and len(said.err.splitlines()) == 1
    assert_full(said.err, tmp_path / "model", "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(job, tmp_path, monkeypatch):
    """Other troubles of the disk are told as they are, without the advice to make room."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "run"))

    monkeypatch.setattr(Path, "mkdir", denied)
    said = vtcd(*job, "--out", tmp_path / "run")
    assert said.code == 1 and said.err == f"vtcd: {tmp_path / 'run'}: Permission denied\n"
