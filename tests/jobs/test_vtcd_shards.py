"""Parts of a ranking, done anywhere in any order: together they are the ranking, byte for byte."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.processes import differing, ranked_blocks, start, wait_until
from tests.cli.tiny import tree, vtcd
from vtcd_jax.ablation import engine
from vtcd_jax.models import InputError
from vtcd_jax.runs import Run, Shard, read_config, read_events
from vtcd_jax.runs.shards import parse_shard

pytestmark = pytest.mark.compile

BLOCKS = 4 + 32  # baselines, and the ranking


@pytest.fixture
def run(discovered, tmp_path) -> Path:
    """A run that has its concepts; the ranking is still to do."""
    return shutil.copytree(discovered, tmp_path / "run")


@pytest.fixture(scope="session")
def halves(discovered, tmp_path_factory) -> Path:
    """A run with both halves of its ranking, not merged."""
    run = shutil.copytree(discovered, tmp_path_factory.mktemp("shards") / "run")
    for shard in ("2/2", "1/2"):
        assert vtcd("rank", run, "--shard", shard).code == 0
    return run


def refused(*arguments: object, lines: int = 1) -> str:
    said = vtcd(*arguments)
    assert (
        said.code == 2 and said.out == "" and said.err.startswith("vtcd: ") and len(said.err.splitlines()) == lines
    ), said
    return said.err


def set_config(path: Path, name: str, value: object) -> None:
    """Changes one setting, by its dotted name."""
    config = json.loads(path.read_text())
    inner = config
    *outer, last = name.split(".")
    for key in outer:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(config))


# -- which blocks are whose -----------------------------------------------------------------------------------------
def test_shards_are_told_by_number_and_count():
    assert (
        parse_shard("1/1") == Shard(0, 1) and parse_shard("3/8") == Shard(2, 8) and parse_shard("08/8") == Shard(7, 8)
    )


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "x", "", "1", "1/", "/3", "-1/3", "1/0", "1/3/5", "1.0/3", " 1/3", "1/3x"]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(InputError, match=re.escape(f"--shard {text!r}: give I/N with I from 1 to N, such as 1/8")):
        parse_shard(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_block_is_of_one_shard(count):
    for number in range(20):
        assert sum(Shard(index, count).has(number) for index in range(count)) == 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "x"])
def test_bad_shards_are_refused_before_anything_is_done(run, text):
    before = tree(run)
    assert f"--shard '{text}'" in refused("rank", run, "--shard", text)
    assert tree(run) == before


# -- any order, then together ---------------------------------------------------------------------------------------
def test_shards_in_any_order_give_the_ranking_and_nothing_is_computed_anew(run, ranked, monkeypatch):
    for shard in ("3/3", "1/3", "2/3"):
        said = vtcd("rank", run, "--shard", shard)
        assert said.code == 0 and said.out == f"shard {shard} is done; after the last shard run: vtcd merge {run}\n", (
            said.err
        )
        assert ranked_blocks(run) == [] and not (run / "importance.csv").exists()
    counts = [len(ranked_blocks(run / "shards" / f"rank-{n}-of-3")) for n in (1, 2, 3)]
    assert sum(counts) == len(ranked_blocks(ranked)) and max(counts) - min(counts) <= 1
    said = vtcd("merge", run)
    assert said.code == 0 and said.out.splitlines() == [
        f"merged {BLOCKS} blocks of 3 shards (rank 1/3, rank 2/3, rank 3/3); 0 existed already",
        "resume with `vtcd rank RUN`, which computes what is missing",
    ]
    assert read_config(run) == read_config(ranked)  # the chunk too
    merged = tree(run)
    said = vtcd("merge", run)
    assert (
        said.code == 0
        and f"merged 0 blocks of 3 shards (rank 1/3, rank 2/3, rank 3/3); {BLOCKS} existed already" in said.out
    )
    assert tree(run) == merged

    monkeypatch.setattr(engine, "run_block", None)  # no masked pass can run any more
    assert vtcd("rank", run).code == 0
    assert differing(run, ranked) == []


def test_what_no_shard_has_done_is_named_and_computed_at_the_end(run, ranked, halves, monkeypatch):
    shutil.copytree(halves / "shards" / "rank-1-of-2", run / "shards" / "rank-1-of-2")
    shutil.copytree(halves / "shards" / "rank-2-of-2", run / "shards" / "rank-2-of-2")
    damaged, *_ = ranked_blocks(run / "shards" / "rank-2-of-2")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (run / "shards" / "notes").mkdir()
    shutil.rmtree(run / "shards" / "rank-1-of-2")
    lines = vtcd("merge", run).out.splitlines()
    assert lines[0] == f"merged {BLOCKS // 2 - 1} blocks of 1 shard (rank 2/2); 0 existed already"
    assert lines[1:] == [
        "damaged blocks left out: 1",
        "missing shards: rank 1/2",
        "resume with `vtcd rank RUN`, which computes what is missing",
    ]
    before = {path: path.stat().st_mtime_ns for path in ranked_blocks(run)}
    assert vtcd("rank", run).code == 0 and differing(run, ranked) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_without_shards_says_how_to_make_them(run):
    assert f"{run}: has no shards; make them with `vtcd rank {run} --shard I/N`" in refused("merge", run)
    assert "is not a run folder" in refused("merge", run / "none")


def test_an_interrupted_shard_goes_on(run, halves, monkeypatch):
    """And a merge before that names it."""
    place, write, left = run / "shards" / "rank-1-of-2", Run.write_block, [6]

    def interrupted(opened, name, arrays):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        write(opened, name, arrays)

    monkeypatch.setattr(Run, "write_block", interrupted)
    said = vtcd("rank", run, "--shard", "1/2", "--quiet")
    assert said.code == 1 and said.err == ("vtcd: interrupted; finished work is saved: resume with the same command\n")
    monkeypatch.undo()
    done = {path: path.stat().st_mtime_ns for path in ranked_blocks(place)}
    assert len(done) == 4  # after two baselines
    assert "unfinished shards: rank 1/2\nmissing shards: rank 2/2\n" in vtcd("merge", run).out
    assert vtcd("rank", run, "--shard", "1/2").code == 0
    assert differing(place, halves / "shards" / "rank-1-of-2") == []
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert "not finished" not in vtcd("merge", run).out


# -- what may not be together ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("settings.masks", 256, "settings.masks: 512 -> 256"),
        ("settings.seed", 7, "settings.seed: 0 -> 7"),
        ("reads", {"concepts.safetensors": "0" * 64}, "concepts.safetensors: "),
        ("made_with.precision", "bfloat16", 'precision: "float32" -> "bfloat16"'),
    ],
)
def test_a_shard_of_another_run_is_refused_with_the_difference(run, halves, name, value, words):
    place = shutil.copytree(halves / "shards" / "rank-2-of-2", run / "shards" / "rank-2-of-2")
    shutil.copytree(halves / "shards" / "rank-1-of-2", run / "shards" / "rank-1-of-2")
    set_config(place / "config.json", name, value)
    before = tree(run)
    said = refused("merge", run, lines=2)
    assert f"{place}: was made with other settings: {words}" in said and "remove it, or make it again" in said
    assert "->" in refused("rank", run, "--shard", "2/2", lines=2)
    assert tree(run) == before


def test_shards_of_another_machine_are_welcome(run, halves):
    place = shutil.copytree(halves / "shards" / "rank-2-of-2", run / "shards" / "rank-2-of-2")
    set_config(place / "config.json", "made_with.device", "TPU v7")
    assert vtcd("merge", run).code == 0 and len(ranked_blocks(run)) == len(ranked_blocks(place))


def test_shards_that_ran_with_different_chunks_are_told(run, halves):
    for name, chunk in (("rank-1-of-2", 1), ("rank-2-of-2", 4)):
        place = shutil.copytree(halves / "shards" / name, run / "shards" / name)
        set_config(place / "config.json", "chunk", chunk)
    assert "shards ran with chunk 1, 4: their results differ by rounding\n" in vtcd("merge", run).out
    assert "chunk" not in (read_config(run) or {})


def test_a_shard_takes_the_chunk_that_the_run_has_measured(run):
    set_config(run / "config.json", "chunk", 3)
    assert vtcd("rank", run, "--shard", "1/8").code == 0
    assert read_config(run / "shards" / "rank-1-of-8")["chunk"] == 3


def test_options_that_shards_do_not_have(run, discovered):
    assert "--shard and --dry-run exclude each other" in refused("rank", run, "--shard", "1/2", "--dry-run")
    set_config(run / "config.json", "settings.stop", True)
    assert "begun with --stop" in refused("rank", run, "--shard", "1/2")
    (run / "concepts.safetensors").unlink()
    set_config(run / "config.json", "settings.stop", False)
    assert "stage 'discover' is not finished" in refused("rank", run, "--shard", "1/2")
    assert not (run / "shards").exists()


# -- at the same time -----------------------------------------------------------------------------------------------
def test_different_shards_work_at_once_and_one_shard_only_once(run, ranked, long_job):
    other = start("rank", run, "--shard", "1/2", disk=0.05)
    place = run / "shards" / "rank-1-of-2"
    assert wait_until(other, lambda: len(ranked_blocks(place)) > 0)
    other.send_signal(signal.SIGSTOP)  # it stays in the middle of its work
    try:
        held = tree(run)
        for command in (("rank", run, "--shard", "1/2"), ("merge", run)):
            assert f"{place}: is in use by process {other.pid} on " in refused(*command)
        assert f"{place}: is in use by process" in refused("run", *long_job, "--out", run, "--overwrite")
        assert tree(run) == held
        assert vtcd("rank", run, "--shard", "2/2").code == 0
    finally:
        other.send_signal(signal.SIGCONT)
        out, err = other.communicate(timeout=120)
    assert other.returncode == 0 and out == f"shard 1/2 is done; after the last shard run: vtcd merge {run}\n", err
    assert "not" not in vtcd("merge", run).out.splitlines()[1]
    assert vtcd("rank", run).code == 0 and differing(run, ranked) == []
    assert [event["kind"] for event in read_events(run)].count("merged") == 1


def test_a_shard_says_when_it_is_done(halves):
    kinds = [event["kind"] for event in read_events(halves / "shards" / "rank-1-of-2")]
    assert kinds[0] == "begun" and kinds[-1] == "shard done" and kinds.count("progress") == 2
