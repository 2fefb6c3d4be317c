"""A new method is a room, a job and a section of the report, and no file that is there already changes: the toy of
docs/adding_a_method.md, through the command line."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest

import vtcd_jax
import vtcd_jax.jobs
import vtcd_jax.report.sections
from tests.cli.tiny import assert_same, tree, vtcd
from tests.jobs import toy
from vtcd_jax.runs import Run, Work, read_config, read_csv, read_events
from vtcd_jax.runs.work import silent


@pytest.fixture(autouse=True)
def installed(tmp_path_factory, monkeypatch):
    """The toy, in this process and for one test."""
    for package, folder in toy.write(tmp_path_factory.mktemp("toy")).items():
        monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    yield
    for package in toy.PACKAGES:
        sys.modules.pop(f"{package.__name__}.brightness", None)
        vars(package).pop("brightness", None)


def test_the_toy_is_three_new_files_and_changes_none_that_is_there():
    """The fixture adds the guide's three blocks beside the packages; nothing else in the library knows the toy."""
    assert len(re.findall(r"```python\n", toy.GUIDE.read_text())) == 3
    root = toy.GUIDE.parents[1]
    files = [p for folder in ("vtcd_jax", "models", "converters") for p in (root / folder).rglob("*.py")]
    imports = re.compile(r"^\s*(from|import) [\w.]*\.brightness\b|^\s*from [\w.]+ import .*\bbrightness\b", re.M)
    assert files and [p.name for p in files if imports.search(p.read_text(encoding="utf-8"))] == []


def test_a_whole_run_leaves_its_tables_and_its_report(tmp_path):
    done = vtcd("brightness", "3", "--out", tmp_path / "run", "--seed", "4")
    assert done.code == 0, done.err
    rows, order = read_csv(tmp_path / "run/brightness.csv"), read_csv(tmp_path / "run/order.csv")
    world = vtcd_jax.world.clips(3, seed=4)
    for row, clip in zip(rows, world.video, strict=True):
        assert np.isclose(float(row["brightness"]), clip.mean() / 255, atol=1e-6)
    assert order[0]["clip"] == max(rows, key=lambda row: float(row["brightness"]))["clip"]
    page = (tmp_path / "run/report/index.html").read_text()
    assert "How bright the clips are" in page and rows[1]["brightness"] in page and 'href="#brightness"' in page
    assert not list((tmp_path / "run").glob("scores/*"))  # the table holds the work of the blocks
    config = read_config(tmp_path / "run")
    assert config is not None and config["job"] == "brightness" and config["settings"] == {"count": 3, "seed": 4}
    assert config["clips"] == dict(zip(world.names, world.hashes, strict=True))
    assert f"the brightest clip: {order[0]['clip']}" in done.out


def test_the_command_has_the_settings_as_options_with_their_help(tmp_path):
    text = vtcd("brightness", "--help").out
    assert "How bright clips are." in text and "--seed" in text and "Seeds the clips." in text and "--dry-run" in text


def test_settings_come_from_a_toml_file_and_the_command_line_goes_first(tmp_path):
    (tmp_path / "settings.toml").write_text("count = 2\nseed = 5\n")
    done = vtcd("brightness", "--config", tmp_path / "settings.toml", "--seed", "6", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    config = read_config(tmp_path / "run")
    assert config is not None and config["settings"] == {"count": 2, "seed": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count = 2\nsead = 5\n", "sead: no such setting; nearest: 'seed'"),
        ("count = 'two'\n", "count: 'two' is no int"),
    ],
)
def test_a_wrong_settings_file_is_named_with_what_is_wrong(tmp_path, text, message):
    (tmp_path / "settings.toml").write_text(text)
    done = vtcd("brightness", "--config", tmp_path / "settings.toml", "--out", tmp_path / "run")
    assert done.code == 2 and message in done.err and "settings.toml" in done.err and not (tmp_path / "run").exists()


def test_bad_settings_and_a_folder_in_use_are_refused_before_anything_is_written(tmp_path):
    assert vtcd("brightness", "0", "--out", tmp_path / "run").code == 2 and not (tmp_path / "run").exists()
    assert vtcd("brightness", "1", "--out", tmp_path / "run").code == 0
    again = vtcd("brightness", "1", "--out", tmp_path / "run")
    assert again.code == 2 and "--resume or --overwrite" in again.err
    other = vtcd("brightness", "2", "--out", tmp_path / "run", "--resume")
    assert other.code == 2 and "settings.count: 1 -> 2" in other.err
    assert vtcd("brightness", "2", "--out", tmp_path / "run", "--overwrite").code == 0


def test_a_dry_run_adds_up_the_costs_and_writes_nothing(tmp_path):
    done = vtcd("brightness", "4", "--out", tmp_path / "run", "--dry-run")
    assert done.code == 0 and "brightness at most 1 s" in done.out and not (tmp_path / "run").exists()


def test_an_interrupted_run_continues_with_the_same_bytes_and_does_nothing_twice(tmp_path, monkeypatch):
    assert vtcd("brightness", "4", "--out", tmp_path / "whole").code == 0
    write, left = Run.write_block, [2]

    def interrupted(run, name, arrays):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(run, name, arrays)

    monkeypatch.setattr(Run, "write_block", interrupted)
    assert vtcd("brightness", "4", "--out", tmp_path / "run").code == 1
    assert len(list((tmp_path / "run").rglob("*.safetensors"))) == 2
    left[0] = 2  # exactly what is missing
    assert vtcd("report", tmp_path / "run").code == 0
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_finished_stages_are_read_back_without_loading_the_inputs(tmp_path, monkeypatch):
    assert vtcd("brightness", "2", "--out", tmp_path / "run").code == 0
    before = tree(tmp_path / "run")

    def no_inputs(*_, **__):
        raise AssertionError("the clips were made again")

    monkeypatch.setattr(vtcd_jax.world, "clips", no_inputs)
    sys.modules.pop("vtcd_jax.jobs.brightness", None)  # imports the function anew
    done = vtcd("report", tmp_path / "run")
    assert done.code == 0 and "report: " in done.out and tree(tmp_path / "run") == before


@pytest.mark.parametrize("file", ["brightness.csv", "order.csv", "report/index.html"])
def test_a_damaged_or_missing_result_is_made_again(tmp_path, file):
    run = tmp_path / "run"
    assert vtcd("brightness", "2", "--out", run).code == 0
    before = tree(run)
    (run / file).write_text("damaged")
    assert vtcd("report", run).code == 0 and tree(run) == before
    (run / file).unlink()
    assert vtcd("report", run).code == 0 and tree(run) == before
    reasons = [event["reason"] for event in read_events(run) if event["kind"] == "stage"]
    assert sum(file in reason for reason in reasons) >= 2


def test_results_of_another_run_are_noticed(tmp_path):
    assert vtcd("brightness", "2", "--out", tmp_path / "a").code == 0
    assert vtcd("brightness", "2", "--out", tmp_path / "b", "--seed", "1").code == 0
    before = tree(tmp_path / "b")
    (tmp_path / "b/brightness.csv").write_bytes((tmp_path / "a/brightness.csv").read_bytes())
    assert vtcd("report", tmp_path / "b").code == 0 and tree(tmp_path / "b") == before


def test_shards_are_merged_into_the_same_bytes(tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert vtcd("brightness", "5", "--out", whole).code == 0
    assert vtcd("brightness", "5", "--out", run, "--dry-run").code == 0
    from vtcd_jax.jobs import execute, find

    job = find.find_jobs()["brightness"]
    inputs = job.prepare(job.settings(5), silent)
    with vtcd_jax.runs.open_run(run, execute.config_of(job, job.settings(5), inputs)):
        pass
    for index in (1, 2):
        done = vtcd("measure", run, "--shard", f"{index}/2")
        assert done.code == 0, done.err
    merged = vtcd("merge", run)
    assert merged.code == 0 and "merged 5 blocks of 2 shards (measure 1/2, measure 2/2)" in merged.out
    assert vtcd("report", run).code == 0
    found = {name: data for name, data in tree(run).items() if not name.startswith("shards/")}
    assert found == tree(whole)


def test_a_stage_that_cannot_be_shared_out_says_so(tmp_path):
    assert vtcd("brightness", "1", "--out", tmp_path / "run").code == 0
    done = vtcd("order", tmp_path / "run", "--shard", "1/2")
    assert done.code == 2 and "cannot be divided into shards" in done.err


def test_a_command_of_another_job_is_refused_with_the_stages_there_are(tmp_path):
    assert vtcd("brightness", "1", "--out", tmp_path / "run").code == 0
    done = vtcd("rank", tmp_path / "run")
    assert done.code == 2 and "has no stage 'rank'; its stages: measure, order, report" in done.err


def test_a_run_of_an_unknown_job_is_named(tmp_path):
    assert vtcd("brightness", "1", "--out", tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    (tmp_path / "run/config.json").write_text(json.dumps(config | {"job": "alchemy"}))
    done = vtcd("report", tmp_path / "run")
    assert done.code == 2 and "job 'alchemy'" in done.err


def test_the_science_works_without_a_run():
    from vtcd_jax.brightness import brightness  # pyright: ignore[reportMissingImports]

    clips = vtcd_jax.world.clips(2, seed=0)
    np.testing.assert_allclose(brightness(clips, Work()), clips.video.mean((1, 2, 3, 4)) / 255, rtol=1e-5)
