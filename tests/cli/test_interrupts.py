"""A ranking that is killed or interrupted goes on, and ends with the same bytes."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from safetensors.numpy import load_file

from tests.cli.processes import ROOT, differing, kill, ranked_blocks, results, start, wait_until
from tests.cli.tiny import tree, vtcd
from vtcd_jax.runs import read_events

pytestmark = pytest.mark.compile

BLOCKS = 32


@pytest.fixture
def run(discovered, tmp_path):
    """A run that has its concepts; the ranking is still to do."""
    return shutil.copytree(discovered, tmp_path / "run")


# -- killed ---------------------------------------------------------------------------------------------------------
def test_a_ranking_that_is_killed_again_and_again_ends_with_the_same_bytes(run, ranked, long_job, tmp_path):
    """The first time at a random moment between blocks, the second time while tables are written."""
    draws = random.Random(3)
    process, wanted = start("rank", run, disk=0.02), draws.randrange(2, BLOCKS - 4)
    assert wait_until(process, lambda: len(ranked_blocks(run)) >= wanted)
    time.sleep(draws.random() * 0.04)
    process.send_signal(signal.SIGSTOP)  # it holds the run for as long as we want to look
    for command in (("rank", run), ("rank", run, "--shard", "1/2"), ("merge", run)):
        said = vtcd(*command)
        assert said.code == 2 and said.err.startswith(f"vtcd: {run}: is in use by process {process.pid} on "), said
    assert kill(process)[0] == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in ranked_blocks(run)}
    assert wanted <= len(kept) < BLOCKS and not (run / "importance.csv").exists()
    assert all(load_file(path) for path in kept)

    process = start("rank", run, disk=0.3)
    assert wait_until(process, lambda: bool(list(run.glob(".convergence.csv.*.part"))))
    assert kill(process)[0] == -signal.SIGKILL
    assert (run / "importance.csv").exists() and not (run / "convergence.csv").exists() and (run / ".lock").exists()

    other = shutil.copytree(run, tmp_path / "other")
    assert vtcd("rank", run).code == 0
    said = vtcd("run", *long_job, "--out", other, "--resume")
    assert said.code == 0, said.err
    assert differing(run, ranked) == []
    assert not set(differing(other, ranked)) & set(results(ranked))  # it went on to curves and a report
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing was computed twice
    assert tree(run).keys() == tree(ranked).keys()  # nothing temporary is left


def test_a_discovery_that_is_killed_goes_on_with_the_same_bytes(discovered, long_job, tmp_path):
    """Killed between two heads of a clip, between the counts of two heads, and between their dictionaries."""
    run = tmp_path / "run"
    for group, wanted in (("segment", 3), ("choose", 1), ("factorise", 1)):
        options = ("--resume",) if run.exists() else ()
        process = start("discover", *long_job, "--out", run, *options, disk=0.05)
        done = run / "scores" / group
        assert wait_until(process, lambda done=done, n=wanted: len(list(done.glob("*.safetensors"))) >= n)
        assert kill(process)[0] == -signal.SIGKILL
        assert not (run / "concepts.safetensors").exists()
    said = vtcd("discover", *long_job, "--out", run, "--resume")
    assert said.code == 0, said.err
    assert differing(run, discovered) == []


# -- interrupted ----------------------------------------------------------------------------------------------------
def test_ctrl_c_saves_the_current_block_and_says_how_to_go_on(run, ranked):
    process = start("rank", run, "--quiet", disk=0.05)
    assert wait_until(process, lambda: len(ranked_blocks(run)) >= 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "Traceback" not in err
    assert err.splitlines() == [
        "",
        "vtcd: saving the running blocks; Ctrl-C again ends at once",
        "vtcd: interrupted; finished work is saved: resume with the same command",
    ]
    done = ranked_blocks(run)
    assert 3 <= len(done) < BLOCKS and not (run / ".lock").exists() and not (run / "importance.csv").exists()
    last = read_events(run)[-1]
    assert last["kind"] == "interrupted" and last["of"] == sum(r.shape[0] for r in rows_of(ranked))
    assert last["masks"] == sum(r.shape[0] for r in rows_of(run))  # what is told is what is there
    assert vtcd("rank", run).code == 0 and differing(run, ranked) == []


def rows_of(run):
    return [load_file(path)["logit"] for path in ranked_blocks(run)]


WORKING = """
import hashlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from vtcd_jax.runs.interrupts import graceful_interrupt
with graceful_interrupt() as asked:
    print("begun", flush=True)
    for block in range(3):
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", int(sys.argv[1]))  # one call that signal handlers have to wait for
        print("block", flush=True)
        if asked():
            break
print("not reached after an interrupt")
"""


def working(rounds: int) -> subprocess.Popen:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WORKING, str(rounds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "begun\n"
    return process


def rest(process: subprocess.Popen) -> tuple[str, str]:
    """What the process says until its end."""
    with process:
        return process.stdout.read(), process.stderr.read()


def test_the_first_ctrl_c_is_answered_while_a_block_runs_and_the_second_ends_at_once():
    process = working(10**9)  # minutes
    process.send_signal(signal.SIGINT)
    lines = [process.stderr.readline(), process.stderr.readline()]
    assert lines == ["\n", "vtcd: saving the running blocks; Ctrl-C again ends at once\n"]
    assert process.poll() is None
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = rest(process)
    assert process.returncode == 1 and time.monotonic() - begun < 10
    assert out == "" and err == "\nvtcd: ended at once; finished blocks are saved\n"


def test_a_ctrl_c_lets_the_block_end_that_is_under_way():
    process = working(10**6)
    process.send_signal(signal.SIGINT)
    out, err = rest(process)
    assert process.returncode != 0 and out == "block\n" and err.endswith("KeyboardInterrupt\n")


def test_without_ctrl_c_nothing_is_different():
    process = working(1)
    out, err = rest(process)
    assert process.returncode == 0 and out.count("block\n") == 3 and err == ""


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("run world:2 --model {model} --out {out}", "finished work is saved: resume with --resume"),
        ("discover world:2 --model {model} --out {out}", "finished work is saved: resume with --resume"),
        ("demo --out {out}", "finished work is saved: resume with `vtcd report RUN`"),
        ("rank {run}", "finished work is saved: resume with the same command"),
        ("rank {run} --shard 1/2", "finished work is saved: resume with the same command"),
        ("curves {run}", "finished work is saved: resume with the same command"),
        ("report {run}", "finished work is saved: resume with the same command"),
        ("convert {model} {out}", "start again"),
    ],
)
def test_every_command_says_how_to_go_on_after_ctrl_c(command, remedy, model, discovered, tmp_path, monkeypatch):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    for name in ("vtcd_jax.jobs.vtcd.inputs.load", "vtcd_jax.converters.convert"):
        monkeypatch.setattr(name, pressed)
    arguments = command.format(model=model, out=tmp_path / "out", run=discovered).split()
    said = vtcd(*arguments)
    assert said.code == 1 and said.err == f"vtcd: interrupted; {remedy}\n"
