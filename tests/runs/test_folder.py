"""A run folder is used by one process, continues where it stopped, and never shows half a file."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import file_sha256
from vtcd_jax.runs import (
    check_run,
    checksum,
    differences,
    manifest,
    open_run,
    read_config,
    read_csv,
    read_events,
    write_csv,
)
from vtcd_jax.runs.lock import refuse_if_in_use

CONFIG = {"seed": 0, "masks": 64, "slic": {"segments": [12, 24], "compactness": 0.1}, "model": "tiny"}


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, except the log."""
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != "events.jsonl")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def block(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "scores": rng.normal(size=(3, 4)).astype(np.float32),
        "gates": rng.integers(0, 2, (4, 5)).astype(bool),
        "empty": np.zeros((0, 2)),
        "count": np.array([7]),
    }


# ---- beginning, resuming, replacing ------------------------------------------------------------------------------


def test_a_new_run(tmp_path):
    folder = tmp_path / "runs" / "rolling"
    with open_run(folder, CONFIG) as run:
        assert not run.resumed
        assert read_config(folder) == CONFIG
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "events.jsonl"]


def test_an_empty_folder_will_do(tmp_path):
    open_run(tmp_path, CONFIG).close()
    assert read_config(tmp_path) == CONFIG


def test_a_run_is_not_overwritten_unasked(tmp_path):
    open_run(tmp_path / "r", CONFIG).close()
    before = tree(tmp_path)
    with pytest.raises(InputError, match=r"r: holds a run already; give --resume or --overwrite"):
        open_run(tmp_path / "r", CONFIG)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_with_other_things_is_refused(tmp_path, options):
    for name, text in {"thesis.tex": "years of work", "config.json": '{"format": "other"}'}.items():
        (tmp_path / name).write_text(text)
        before = tree(tmp_path)
        with pytest.raises(InputError, match="holds other files than a run"):
            open_run(tmp_path, CONFIG, **options)
        assert tree(tmp_path) == before
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(before)
        (tmp_path / name).unlink()


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="is a file"):
        open_run(tmp_path / "x", CONFIG)


def test_resuming(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("b0", block())
    before = tree(tmp_path)
    with open_run(tmp_path, {**CONFIG, "slic": {"compactness": 0.1, "segments": (12, 24)}}, resume=True) as run:
        assert run.resumed and run.blocks() == ("b0",)
    assert tree(tmp_path) == before
    assert [e["kind"] for e in read_events(tmp_path)] == ["begun", "resumed"]


def test_resuming_what_is_not_there_begins(tmp_path):
    with open_run(tmp_path / "new", CONFIG, resume=True) as run:
        assert not run.resumed


def test_resuming_with_other_settings_lists_every_difference(tmp_path):
    open_run(tmp_path, CONFIG).close()
    other = {"seed": 1, "slic": {"segments": [12], "compactness": 0.1}, "model": "tiny", "ratio": 0.5}
    with pytest.raises(InputError) as error:
        open_run(tmp_path, other, resume=True)
    first, second = str(error.value).splitlines()
    for words in ("masks: 64 -> (none)", "ratio: (none) -> 0.5", "seed: 0 -> 1", "slic.segments: [12, 24] -> [12]"):
        assert words in first
    assert "compactness" not in first and "model" not in first and "--overwrite" in second
    with open_run(tmp_path, {**CONFIG, "seed": 5}, resume=True, ignore=["seed"]) as run:
        assert run.resumed
    with open_run(tmp_path, {**CONFIG, "slic": {}}, resume=True, ignore=["slic"]) as run:
        assert run.resumed


def test_differences_sees_types_and_empty_groups():
    assert differences({"a": {}}, {"a": {}}) == []
    assert differences({"a": {}}, {"a": {"b": 1}}) == ["a: {} -> (none)", "a.b: (none) -> 1"]
    assert differences({"a": None}, {}) == ["a: null -> (none)"]
    assert differences({"a": 1}, {"a": True}) == ["a: 1 -> true"]


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("b0", block())
        run.path("report/index.html").write_text("old")
        write_csv(run.path("importance.csv"), [], ["id"])
    (tmp_path / "notes.md").write_text("mine")
    with open_run(tmp_path, {"seed": 9}, overwrite=True) as run:
        assert not run.resumed and run.blocks() == ()
    assert sorted(tree(tmp_path)) == ["config.json", "notes.md"]
    assert read_config(tmp_path) == {"seed": 9}


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(InputError, match="exclude each other"):
        open_run(tmp_path, CONFIG, resume=True, overwrite=True)


def test_checking_writes_nothing(tmp_path):
    check_run(tmp_path / "new", CONFIG)
    assert not (tmp_path / "new").exists()
    open_run(tmp_path / "r", CONFIG).close()
    before = tree(tmp_path)
    with pytest.raises(InputError, match="already"):
        check_run(tmp_path / "r")
    check_run(tmp_path / "r", None, resume=True)
    with pytest.raises(InputError, match="other settings"):
        check_run(tmp_path / "r", {"seed": 1}, resume=True)
    assert tree(tmp_path) == before


def test_leftovers_of_a_crash_are_removed(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("b0", block())
    (tmp_path / ".importance.csv.x.part").write_text("half")
    (tmp_path / "scores" / ".b1.safetensors.y.part").write_text("half")
    at_work = tmp_path / "shards" / "1-of-2" / "scores" / ".b2.safetensors.z.part"
    for path in (tmp_path / "held_out" / ".concepts.csv.x.part", tmp_path / "report" / ".index.html.y.part", at_work):
        path.parent.mkdir(parents=True)
        path.write_text("half")
    with open_run(tmp_path, CONFIG, resume=True, folders=("held_out",)) as run:
        assert run.blocks() == ("b0",)
    left = [
        "config.json",
        "scores/b0.safetensors",
        at_work.relative_to(tmp_path).as_posix(),
    ]  # another process writes it
    assert sorted(tree(tmp_path)) == left
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / ".config.json.z.part").write_text("half")
    open_run(tmp_path / "fresh", CONFIG).close()  # crashed before its settings were written
    assert sorted(tree(tmp_path / "fresh")) == ["config.json"]


# ---- one process at a time ---------------------------------------------------------------------------------------


def hold(folder: Path) -> subprocess.Popen:
    """Another process that opens the run and keeps it."""
    code = "import sys; from vtcd_jax.runs import open_run; run = open_run(sys.argv[1], {}); print('open', flush=True)"
    command = [sys.executable, "-c", code + "; sys.stdin.read()", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    process = hold(tmp_path / "r")
    try:
        before = tree(tmp_path)
        for options in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(InputError, match=f"in use by process {process.pid} on"):
                open_run(tmp_path / "r", {}, **options)
            with pytest.raises(InputError, match="in use"):
                check_run(tmp_path / "r", {}, **options)
        assert tree(tmp_path) == before
        process.send_signal(signal.SIGKILL)  # no chance to clean up
        process.wait()
        with open_run(tmp_path / "r", {}, resume=True) as run:
            assert run.resumed
    finally:
        process.kill()
        process.wait()
    assert not (tmp_path / "r" / ".lock").exists()


def test_a_run_is_not_replaced_while_another_process_does_a_part_of_it(tmp_path):
    open_run(tmp_path, CONFIG).close()
    with open_run(tmp_path / "shards" / "1-of-2", CONFIG) as part:
        part.write_block("b0", block())
        with pytest.raises(InputError, match="1-of-2: is in use by process"):
            open_run(tmp_path, CONFIG, overwrite=True)
        assert part.read_block("b0") is not None
        open_run(tmp_path, CONFIG, resume=True).close()
    open_run(tmp_path, CONFIG, overwrite=True).close()
    assert sorted(tree(tmp_path)) == ["config.json"]


def test_many_may_look_at_once_and_only_the_owner_is_found(tmp_path):
    """A lock file that a crash left says nothing, however many processes look at it at the same time."""
    (tmp_path / ".lock").write_text("process 1 on a machine that crashed\n")
    start = threading.Barrier(8)

    def look(_: int) -> None:
        start.wait()
        for _ in range(200):
            refuse_if_in_use(tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(8)))


def test_the_lock_goes_with_the_run_even_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), open_run(tmp_path, CONFIG) as run:
        with pytest.raises(InputError, match="in use"):
            open_run(tmp_path, CONFIG, resume=True)
        raise RuntimeError
    run.close()
    assert not (tmp_path / ".lock").exists()
    open_run(tmp_path, CONFIG, resume=True).close()


@pytest.mark.slow
def test_of_many_at_once_exactly_one_gets_in(tmp_path):
    """The lock belongs to an open file, so threads stand for processes here."""
    start, end = threading.Barrier(8), threading.Barrier(8)

    def enter(_: int) -> str:
        start.wait()
        try:
            run = open_run(tmp_path / "r", {}, resume=True)
        except InputError:
            run = None
        end.wait()
        if run is None:
            return "refused"
        run.close()
        return "in"

    for _ in range(20):
        with ThreadPoolExecutor(8) as pool:
            assert sorted(pool.map(enter, range(8))) == ["in"] + ["refused"] * 7


# ---- blocks ------------------------------------------------------------------------------------------------------


def test_blocks_read_back(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("clip_1/0003", block())
        got = run.read_block("clip_1/0003")
        assert got is not None and sorted(got) == sorted(block())
        for name, array in block().items():
            np.testing.assert_array_equal(got[name], array)
            assert got[name].dtype == array.dtype
        assert run.blocks() == ("clip_1/0003",) and run.read_block("clip_1/0004") is None


def test_the_same_block_has_the_same_bytes(tmp_path):
    trees = []
    for name in ("a", "b"):
        with open_run(tmp_path / name, CONFIG) as run:
            run.write_block("0", dict(sorted(block().items(), reverse=name == "b")))
        trees.append(tree(tmp_path / name))
    assert trees[0] == trees[1]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "text", "other checksum"])
def test_a_damaged_block_is_thrown_away(tmp_path, harm):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("b", block())
        path = tmp_path / "scores" / "b.safetensors"
        data = bytearray(path.read_bytes())
        if harm == "flip":
            data[-3] ^= 1
        elif harm == "other checksum":
            place = data.index(checksum(block()).encode())
            data[place : place + 64] = b"0" * 64
        else:
            data = {"cut": data[:-5], "empty": b"", "text": b"hello" * 20}[harm]
        path.write_bytes(data)
        assert run.read_block("b") is None
        assert not path.exists() and run.blocks() == ()
        assert read_events(tmp_path)[-1]["block"] == "b"
        run.write_block("b", block())
        assert run.read_block("b") is not None


def test_no_bit_of_a_block_can_change_unnoticed(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("b", {"logit": np.arange(5, dtype=np.float32), "accuracy": np.zeros(5, np.float32)})
        path = tmp_path / "scores" / "b.safetensors"
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
            assert run.read_block("b") is None, place
            path.write_bytes(whole[:place])
            assert run.read_block("b") is None, place
        path.write_bytes(whole)
        assert run.read_block("b") is not None


def test_checksum_sees_names_shapes_dtypes_and_values():
    a = {"x": np.arange(6, dtype=np.int32)}
    others = [
        {"y": a["x"]},
        {"x": a["x"].reshape(2, 3)},
        {"x": a["x"].astype(np.int64)},
        {"x": a["x"].view(np.float32)},
        {"x": a["x"][::-1]},
        {**a, "y": np.zeros(0)},
    ]
    sums = [checksum(arrays) for arrays in (a, *others)]
    assert len(set(sums)) == len(sums) and checksum(dict(a)) == sums[0]


# ---- a full disk -------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    with open_run(tmp_path, CONFIG) as run:
        run.write_block("b", block(0))
        before = tree(tmp_path)

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for write in (
                lambda: run.write_block("b", block(1)),
                lambda: run.write_block("c", block(1)),
                lambda: write_csv(run.path("importance.csv"), [{"id": 1}], ["id"]),
            ):
                with pytest.raises(OSError, match="No space left"):
                    write()
        assert tree(tmp_path) == before


def test_a_disk_that_really_fills(tmp_path):
    """The kernel refuses to let files grow past 20 kB; the block that would be larger is not there afterwards."""
    if sys.platform == "win32":
        pytest.skip("needs resource limits")
    code = """
import resource, signal, sys
import numpy as np
from vtcd_jax.runs import open_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with open_run(sys.argv[1], {}) as run:
    run.write_block("small", {"x": np.zeros(100)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    run.write_block("large", {"x": np.zeros(100_000)})
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and "OSError: [Errno 27]" in done.stderr
    assert sorted(tree(tmp_path / "r")) == ["config.json", "scores/small.safetensors"]
    with open_run(tmp_path / "r", {}, resume=True) as run:
        assert run.read_block("small") is not None


# ---- log, tables, manifest ---------------------------------------------------------------------------------------


def test_events_survive_a_crash_in_the_middle_of_a_line(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        run.event("stage", {"name": "discovery", "clips": 4})
        with (tmp_path / "events.jsonl").open("a") as file:
            file.write('{"time": 1, "kind": "ha')
        run.event("stage", {"name": "Übung"})
    events = read_events(tmp_path)
    assert [e.get("name") for e in events] == [None, "discovery", "Übung"]
    assert all(abs(e["time"] - time.time()) < 60 for e in events)
    assert read_events(tmp_path / "none") == []


def test_a_table_holds_the_numbers_exactly(tmp_path):
    rows = [
        {"id": 0, "x": 0.1 + 0.2, "y": np.float32(0.1), "ok": True, "name": 'a "b", c'},
        {"id": np.int32(1), "x": float("nan"), "y": np.float32(1e-20), "ok": np.bool_(False), "name": None},
    ]
    columns = ["id", "name", "x", "y", "ok"]
    write_csv(tmp_path / "t.csv", rows, columns)
    assert (tmp_path / "t.csv").read_bytes() == (
        b'id,name,x,y,ok\n0,"a ""b"", c",0.30000000000000004,0.1,true\n1,,nan,1e-20,false\n'
    )
    back = read_csv(tmp_path / "t.csv")
    assert float(back[0]["x"]) == 0.1 + 0.2 and np.float32(back[0]["y"]) == np.float32(0.1)
    assert back[0]["name"] == 'a "b", c'


@pytest.mark.parametrize("row", [{"id": 1}, {"id": 1, "x": 2, "y": 3}])
def test_a_table_has_the_columns_it_says(tmp_path, row):
    with pytest.raises(ValueError, match="columns"):
        write_csv(tmp_path / "t.csv", [row], ["id", "x"])
    assert not list(tmp_path.iterdir())


def test_manifest_says_what_a_run_was_made_with():
    import jax

    made = manifest(precision="highest")
    assert made["jax"] == jax.__version__ and made["numpy"] == np.__version__
    assert made["python"] == ".".join(map(str, sys.version_info[:3]))
    assert made["device"] == jax.devices()[0].device_kind and made["precision"] == "highest"
    assert json.loads(json.dumps(made)) == made


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert file_sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
