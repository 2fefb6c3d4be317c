"""A disk that is full at any moment: exit code 1, one line, no half file under a final name; then the run goes on."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.cli.processes import differing, ranked_blocks
from tests.cli.tiny import assert_same, tree, vtcd
from vtcd_jax.runs import read_csv

pytestmark = pytest.mark.compile

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
            assert path.read_text().endswith("\n")
            assert read_csv(path) or path.name == "convergence.csv"  # empty where masks are too few
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            assert np.load(path).files
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")


def assert_full(said_err: str, out: Path, reason: str, remedy: str = "resume with --resume") -> None:
    last = said_err.splitlines()[-1]
    assert last.startswith("vtcd: ") and reason in last and "no partial file" in last
    assert last.endswith(f": free some space and {remedy}")
    assert str(out) in last and said_err.count("vtcd: ") == 1 and "Traceback" not in said_err


def test_a_disk_that_fills_up_again_and_again(finished, job, tmp_path, monkeypatch):
    out, room, fsync = tmp_path / "run", [0], os.fsync

    def full(descriptor: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr("vtcd_jax.base.files.os.fsync", full)
    there = []
    for files in range(0, 60, 3):  # room for a little more every time
        room[0] = files
        said = vtcd(*job, "--out", out, "--resume")
        if said.code == 0:
            break
        assert said.code == 1
        assert_full(said.err, out, "No space left on device")
        assert_whole(out)
        there.append({str(name) for name in tree(out)})
    assert said.code == 0 and there[0] == set() and len(there) >= 6
    stages = [("config.json",), ("scores/segment",), ("concepts.safetensors", "scores/rank"), ("importance.csv",)]
    for stage in stages:  # it was full in each of them
        assert any(all(any(name.startswith(part) for name in names) for part in stage) for names in there), stage
    assert not any(name.endswith(".html") for names in there for name in names)
    assert_same(out, finished)


def test_a_file_that_may_not_grow(finished, job, tmp_path, root):
    """The same with a real limit: settings fit, concepts do not."""
    out = tmp_path / "run"
    limit = (finished / "config.json").stat().st_size + 100
    assert limit < (finished / "concepts.safetensors").stat().st_size
    command = [sys.executable, "-c", LIMITED, str(limit), *map(str, job), "--out", str(out), "--quiet"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 1, done.stderr
    assert done.stdout.startswith("the unmodified model gets 8 clips wrong")  # nothing about concepts
    assert_full(done.stderr, out, "File too large")
    assert_whole(out)
    assert "config.json" in tree(out) and "concepts.safetensors" not in tree(out)
    assert vtcd(*job, "--out", out, "--resume").code == 0
    assert_same(out, finished)


@pytest.mark.parametrize(("shard", "room"), [((), 11), (("--shard", "1/2"), 6)])
def test_a_ranking_on_a_disk_that_fills_up_goes_on(discovered, ranked, tmp_path, monkeypatch, shard, room):
    run, left, fsync = shutil.copytree(discovered, tmp_path / "run"), [room], os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr("vtcd_jax.base.files.os.fsync", full)
    said = vtcd("rank", run, *shard, "--quiet")
    assert said.code == 1 and len(said.err.splitlines()) == 1
    assert_full(said.err, run, "No space left on device", "resume with the same command")
    assert_whole(run)
    assert len(ranked_blocks(run / "shards" / "rank-1-of-2" if shard else run)) == room - (4 if shard else 5)
    monkeypatch.undo()
    assert vtcd("rank", run, *shard).code == 0
    if shard:
        assert vtcd("merge", run).code == vtcd("rank", run).code == 0
    assert differing(run, ranked) == []


def test_a_log_that_cannot_be_written(discovered, tmp_path):
    """A real device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    run = shutil.copytree(discovered, tmp_path / "run")
    (run / "events.jsonl").unlink()
    before = tree(run)
    (run / "events.jsonl").symlink_to("/dev/full")
    said = vtcd("rank", run)
    assert said.code == 1 and said.out == "" and len(said.err.splitlines()) == 1
    assert_full(said.err, run, "No space left on device", "resume with the same command")
    assert tree(run) == before


# -- a folder that cannot be written --------------------------------------------------------------------------------
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def read_only(folder: Path, monkeypatch) -> None:
    """Below ``folder``, the system's calls answer as on a file system that is mounted for reading.

    (Permissions would not do: they do not bind the superuser, who may run the tests.)
    """

    def refuse_if_below(path: object) -> None:
        if not isinstance(path, str | os.PathLike):
            return
        absolute = Path(os.path.abspath(path))
        if absolute.is_relative_to(folder) and absolute.parent.exists():  # what is not there is told first
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def wrapped(name: str, module: object = os) -> None:
        real = getattr(module, name)

        def call(path, *others, **options):
            refuse_if_below(path)
            return real(path, *others, **options)

        monkeypatch.setattr(module, name, call)

    for name in ("mkdir", "unlink", "remove", "rmdir", "rename", "replace", "chmod"):
        wrapped(name)
    os_open, io_open = os.open, io.open

    def open_descriptor(path, flags, *others, **options):
        if flags & WRITES:
            refuse_if_below(path)
        return os_open(path, flags, *others, **options)

    def open_file(path, mode="r", *others, **options):
        if set(mode) & set("wax+"):
            refuse_if_below(path)
        return io_open(path, mode, *others, **options)

    monkeypatch.setattr(os, "open", open_descriptor)
    monkeypatch.setattr(io, "open", open_file)
    monkeypatch.setattr("builtins.open", open_file)


@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize(
    ("command", "named"), [(("rank",), ".lock"), (("rank", "--shard", "1/2"), "shards"), (("merge",), ".lock")]
)
def test_a_run_on_a_disk_that_can_only_be_read(discovered, tmp_path, monkeypatch, command, named, crashed):
    run = shutil.copytree(discovered, tmp_path / "run")
    if crashed:
        (run / ".lock").write_text("process 1\n")
    before = tree(run)
    with monkeypatch.context() as patch:
        read_only(run, patch)
        with pytest.raises(OSError, match="Read-only"):
            (run / "x").write_text("y")
        said = vtcd(command[0], run, *command[1:])
    assert (
        said.code == 1
        and said.out == ""
        and said.err == f"vtcd: {run / ('.lock' if crashed else named)}: Read-only file system\n"
    )
    assert tree(run) == before


def test_a_conversion_on_a_full_disk_leaves_nothing(golden, tmp_path, monkeypatch):
    checkpoint, config = (golden / "models" / f"videomae_ft_tiny.{kind}" for kind in ("safetensors", "json"))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("vtcd_jax.base.files.os.fsync", full)
    said = vtcd("convert", checkpoint, tmp_path / "model", "--config", config)
    assert said.code == 1 and said.out == "" and len(said.err.splitlines()) == 1
    assert_full(said.err, tmp_path / "model", "No space left on device", "start again")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(job, tmp_path, monkeypatch):
    """Other troubles of the disk are told as they are, without the advice to make room."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path / "run"))

    monkeypatch.setattr(Path, "mkdir", denied)
    said = vtcd(*job, "--out", tmp_path / "run")
    assert said.code == 1 and said.err == f"vtcd: {tmp_path / 'run'}: Permission denied\n"
