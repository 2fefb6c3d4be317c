"""Plans, models, conversion, and what a person reads while it runs."""

from __future__ import annotations

import io
import re
import time

import pytest
from safetensors.numpy import load_file

from tests.cli.tiny import NMF, tree, vtcd
from vtcd_jax import models
from vtcd_jax.cli.progress import Progress
from vtcd_jax.concepts.proposals import SEGMENT
from vtcd_jax.importance.curves import CURVES
from vtcd_jax.importance.measure import RANK
from vtcd_jax.runs import read_csv

pytestmark = pytest.mark.compile


class Screen(io.StringIO):
    """A terminal that remembers everything it showed."""

    def isatty(self) -> bool:
        return True


# -- plans ----------------------------------------------------------------------------------------------------------
def passes_of(folder) -> int:
    """Masked passes whose scores lie in a run folder."""
    files = (folder / "scores").rglob("*.safetensors")
    return sum(len(next(iter(load_file(path).values()))) for path in files)


def planned(out: str, name: str) -> float:
    line = next(line for line in out.splitlines() if line.startswith(name))
    return float(re.search(r"[\d,.]+", line.removeprefix(name))[0].replace(",", ""))


def test_a_plan_counts_the_passes_of_the_run_and_writes_nothing(finished, job, tmp_path):
    said = vtcd(*job, "--out", tmp_path / "new" / "run", "--dry-run")
    assert said.code == 0, said.err
    assert list(tmp_path.iterdir()) == []
    assert "4 ranked, 4 held out" in said.out and "chunk 1" in said.out
    assert planned(said.out, "passes") == passes_of(finished) == 4 * (1 + 8) + 4 * 3 * 3 + 2 * 4 * (8 + 3)
    assert planned(said.out, "concepts") == 2 * 2 * 3 >= len(read_csv(finished / "concepts.csv"))
    assert planned(said.out, "memory") >= 1


def test_a_plan_for_a_run_that_is_there(finished):
    before = tree(finished)
    for command, passes in (("rank", 4 * (1 + 8)), ("curves", passes_of(finished)), ("report", passes_of(finished))):
        said = vtcd(command, finished, "--dry-run")
        assert said.code == 0 and planned(said.out, "passes") == passes
    assert tree(finished) == before


# -- models and conversion ------------------------------------------------------------------------------------------
def test_models_lists_what_is_shipped_and_what_can_be_converted():
    said = vtcd("models")
    assert said.code == 0 and said.err == ""
    for name in (*models.names(), *models.all_families()):
        assert name in said.out
    for name in models.names():
        assert all(label in said.out for label in models.load(name).labels)
    assert len(vtcd("models", "--quiet").out) <= len(said.out)


def test_a_converted_checkpoint_runs(golden, tmp_path):
    checkpoint, config = (golden / "models" / f"videomae_ft_tiny.{kind}" for kind in ("safetensors", "json"))
    model, out = tmp_path / "ein modell ü", tmp_path / "läufe" / "erster lauf"
    said = vtcd("convert", checkpoint, model, "--config", config)
    assert said.code == 0 and "blocks.0.attn.qkv.weight" in said.out and f"written to {model}" in said.out
    assert len(vtcd("convert", checkpoint, tmp_path / "again", "--config", config, "--quiet").out.splitlines()) == 1
    assert tree(tmp_path / "again") == tree(model)
    dry = vtcd("convert", checkpoint, tmp_path / "dry", "--config", config, "--dry-run")
    assert dry.code == 0 and "nothing written" in dry.out and not (tmp_path / "dry").exists()
    options = (*NMF, "--masks", "4", "--steps", "2", "--repeats", "1", "--controls", "1", "--top", "1")
    said = vtcd("run", "world:2", "--model", model, "--out", out, *options, "--target", "class_2")
    assert said.code == 0, said.err
    heads = {(row["layer"], row["head"]) for row in read_csv(out / "concepts.csv")}
    assert heads == {(str(layer), str(head)) for layer in range(3) for head in range(3)}
    assert "class_2" in (out / "report" / "index.html").read_text()


def test_help_names_every_option(model):
    said = vtcd("run", "--help")
    assert said.code == 0 and said.err == ""
    options = "model out target masks seed chunk dry-run resume overwrite quiet debug slic.n-segments nmf.elbow.rule"
    options += " design estimator stop stop-top only-correct mode precision"
    for word in ("CLIPS", *(f"--{option}" for option in options.split())):
        assert word in said.out
    assert "tyro" not in said.out
    assert "--shard I/N" in vtcd("rank", "--help").out
    overview = vtcd("--help").out
    for command in ("demo", "run", "discover", "rank", "curves", "report", "merge", "convert", "models", "benchmark"):
        assert command in overview


# -- what a person reads --------------------------------------------------------------------------------------------
def test_quiet_prints_results_only(finished, job, tmp_path):
    loud = vtcd(*job, "--out", tmp_path / "a")
    quiet = vtcd(*job, "--out", tmp_path / "b", "--quiet")
    assert quiet.err == "" and quiet.out == loud.out.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    lines = quiet.out.splitlines()
    assert lines[0].startswith("the unmodified model gets 8 clips wrong, kept (--only-correct leaves them out): world")
    assert lines[1].endswith("concepts.csv") and lines[-1] == f"report: {tmp_path / 'b' / 'report' / 'index.html'}"
    assert any(line.startswith("area under log probability (95 %): most important first ") for line in lines)
    assert any(line.startswith("overlap with target: mIoU ") for line in lines)
    assert f"curves on 4 clips held out: {tmp_path / 'b' / 'curves.csv'}" in lines
    stages = [line.split("  ")[0] for line in loud.err.splitlines()]
    assert stages == ["tokens", "number of concepts", "concepts", "concepts of tokens", "ranking",
                      "concepts of tokens", "curves", "concepts of tokens", "concepts of tokens", "random centres",
                      "centres, curve", "random groups", "groups, curve", "overlap with masks",
                      "report"]  # fmt: skip


def test_bars_end_their_lines(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    with Progress(quiet=False) as progress:
        for done in range(4):
            progress(SEGMENT, done, 3)
        progress(RANK, 64, 256)
        progress(RANK, 128, 256)
    print("vtcd: something happened", file=screen)
    whole, cut, message = (line.split("\r")[-1] for line in screen.getvalue().rstrip("\n").split("\n"))
    assert whole.startswith("tubelets") and "3/3 clips" in whole
    assert cut.startswith("ranking") and "/256 passes" in cut and "left" in cut
    assert message == "vtcd: something happened"


@pytest.mark.parametrize(("columns", "masks", "clips"), [(80, 24576, 48), (100, 1048576, 2048), (200, 1048576, 2048)])
def test_the_bar_shows_masks_clips_time_and_speed(monkeypatch, columns, masks, clips):
    monkeypatch.setattr("sys.stderr", screen := Screen())
    monkeypatch.setenv("COLUMNS", str(columns))
    with Progress(quiet=False) as progress:
        progress(RANK, 0, masks, f"0/{clips} clips")
        time.sleep(0.12)  # bars are drawn ten times a second at most
        progress(RANK, 64, masks, f"0/{clips} clips")
    shown = screen.getvalue().rstrip("\n").split("\r")[-1]
    pattern = rf"ranking +64/{masks} passes, 0/{clips} clips, [\d:]+ left, +[\d.]+/s \|[#\d ]+\|"
    assert re.fullmatch(pattern, shown), shown
    assert len(shown) == min(columns, 100)


def test_the_remaining_time_counts_only_work_done_now(monkeypatch):
    """Half of the passes were there at the start: they say nothing about the speed."""
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with Progress(quiet=False) as progress:
        progress(RANK, 500, 1000)
        bar = progress._bars["rank"]
        assert bar.initial == 500 and bar.n == 500
        progress(RANK, 510, 1000)
        assert bar.n == 510


def test_a_log_file_gets_a_line_per_stage(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    with Progress(quiet=False) as progress:
        progress(CURVES, 0, 7)
        progress(CURVES, 7, 7)
        progress(SEGMENT, 0, 1)
        progress(SEGMENT, 1, 1)
        progress(RANK, 1, 2)  # never ends
    lines = log.getvalue().splitlines()
    assert re.fullmatch(r"curves +7 passes, \d+\.\d s", lines[0]) and re.fullmatch(r"tubelets +1 clip, .*", lines[1])
    assert len(lines) == 2


@pytest.mark.parametrize("stage", [CURVES, RANK])
def test_quiet_shows_no_progress(monkeypatch, stage):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with Progress(quiet=True) as progress:
        progress(stage, 0, 5)
        progress(stage, 5, 5)
    assert screen.getvalue() == ""
