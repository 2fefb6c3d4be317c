"""A training that was interrupted ends as one that was not: same parameters bit for bit, same table."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from tests.training.toy import SETTINGS, TASK
from vtcd_jax.models import InputError
from vtcd_jax.runs import read_events
from vtcd_jax.training import Rate, Trained, fit

pytestmark = pytest.mark.compile


def assert_same(trained: Trained, expected: Trained) -> None:
    for one, other in zip(_arrays(trained), _arrays(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def _arrays(trained: Trained) -> list[jax.Array]:
    return jax.tree.leaves((trained.params, trained.average, trained.state))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Trained, Path]:
    """The training without interruption."""
    folder = tmp_path_factory.mktemp("training") / "whole"
    return fit(TASK, SETTINGS, folder), folder


def killed(root: Path, folder: Path, when: str) -> None:
    """A process that trains into ``folder`` until it is killed."""
    process = subprocess.run([sys.executable, "-m", "tests.training.toy", str(folder), when], cwd=root, timeout=120)
    assert process.returncode == -signal.SIGKILL


def table_is_whole(folder: Path) -> bool:
    text = (folder / "training.csv").read_text() if (folder / "training.csv").exists() else "\n"
    return text.endswith("\n") and len({line.count(",") for line in text.splitlines()}) == 1


def test_training_learns_and_writes_a_row_per_evaluation(whole):
    trained, folder = whole
    assert [row["step"] for row in trained.rows] == [5, 10, 15, 18] and trained.step == 18
    assert trained.rows[-1]["loss"] < trained.rows[0]["loss"] and trained.rows[-1]["held_out"] > 0.6
    assert trained.state["clips"] == 18 * 16
    lines = (folder / "training.csv").read_text().splitlines()
    assert lines[0] == "step,clips,loss,gradient_norm,right,held_out" and len(lines) == 5


def test_progress_counts_the_steps_of_all_calls(tmp_path):
    calls = []

    def progress(*call):
        calls.append(call)

    settings = dataclasses.replace(SETTINGS, steps=4, rate=Rate(0.02))
    fit(TASK, settings, tmp_path / "run", progress=progress, stop=lambda: len(calls) == 2)
    fit(TASK, settings, tmp_path / "run", progress=progress)
    assert [call[:3] for call in calls] == [("train", done, 4) for done in (1, 2, 3, 4)]
    assert calls[1][3].startswith("loss 1.")


def test_rows_are_means_over_the_steps_since_the_last(whole, tmp_path):
    every = fit(TASK, dataclasses.replace(SETTINGS, evaluate_every=1), tmp_path / "run").rows
    for row, first in zip(whole[0].rows, (0, 5, 10, 15), strict=True):
        assert row["loss"] == pytest.approx(np.mean([step["loss"] for step in every[first : row["step"]]]), rel=1e-9)


def test_killed_at_any_moment_it_ends_the_same(whole, root, tmp_path):
    """In the middle of steps, and while a checkpoint is being written."""
    folder = tmp_path / "run"
    for when in ("step 8", "checkpoint 12"):
        killed(root, folder, when)
        assert table_is_whole(folder)
        assert all(isinstance(json.loads(line), dict) for line in (folder / "events.jsonl").read_text().splitlines())
    assert_same(fit(TASK, SETTINGS, folder), whole[0])
    assert (folder / "training.csv").read_bytes() == (whole[1] / "training.csv").read_bytes()
    kinds = [event["kind"] for event in read_events(folder)]
    assert kinds[0] == "begun" and kinds.count("resumed") == 2 and kinds[-1] == "ended"


def test_stopped_between_rows_it_ends_the_same(whole, tmp_path):
    count = iter(range(100))
    stopped = fit(TASK, SETTINGS, tmp_path / "run", stop=lambda: next(count) == 6)
    assert stopped.step == 7 and len(stopped.rows) == 1
    assert_same(fit(TASK, SETTINGS, tmp_path / "run"), whole[0])
    assert (tmp_path / "run" / "training.csv").read_bytes() == (whole[1] / "training.csv").read_bytes()


def test_a_finished_training_is_given_back_without_a_step(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[1], folder)
    again = fit(dataclasses.replace(TASK, batch=lambda *_: pytest.fail("a batch was made")), SETTINGS, folder)
    assert_same(again, whole[0])
    assert again.rows == whole[0].rows


@pytest.mark.parametrize("damage", ["half-written", "cut", "bit"])
def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path, damage):
    """Half-written ones in silence, since Orbax marks them; others with a warning that names them."""
    folder = tmp_path / "run"
    shutil.copytree(whole[1], folder)
    last = folder / "checkpoints" / "18"
    data = max((path for path in last.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    if damage == "half-written":
        last.rename(last.with_name("18.orbax-checkpoint-tmp"))
        trained = fit(TASK, SETTINGS, folder)
    else:
        content = bytearray(data.read_bytes())
        if damage == "cut":
            del content[len(content) // 2 :]
        else:
            content[len(content) // 2] ^= 64
        data.write_bytes(content)
        with pytest.warns(UserWarning, match="18: is damaged"):
            trained = fit(TASK, SETTINGS, folder)
    assert_same(trained, whole[0])
    assert (folder / "training.csv").read_bytes() == (whole[1] / "training.csv").read_bytes()


def test_other_settings_are_refused_with_what_differs(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[1], folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = dataclasses.replace(SETTINGS, rate=Rate(0.03, warmup=3), seed=4)
    with pytest.raises(InputError, match=r"rate.highest: 0.02 -> 0.03; settings.seed: 3 -> 4"):
        fit(TASK, other, folder)
    with pytest.raises(InputError, match=r"task.features: 12 -> 13"):
        fit(dataclasses.replace(TASK, config={"name": "toy", "features": 13}), SETTINGS, folder)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoint_of_a_network_that_has_changed_is_refused_and_stays(whole, tmp_path):
    """Where the task's config does not say so."""
    folder = tmp_path / "run"
    shutil.copytree(whole[1], folder)

    def wider(key):
        params, state = TASK.init(key)
        return {**params, "third": jax.numpy.zeros((2, 3))}, state

    with pytest.raises(
        InputError, match=r"18: is of a task with other arrays: .*params/third: \(none\) -> \"float32\[2, 3"
    ):
        fit(dataclasses.replace(TASK, init=wider), SETTINGS, folder)
    assert_same(fit(TASK, SETTINGS, folder), whole[0])


def test_when_checkpoints_are_made_may_change(whole, tmp_path):
    stopped = fit(TASK, SETTINGS, tmp_path / "run", stop=lambda: True)
    assert stopped.step == 1
    often = dataclasses.replace(SETTINGS, checkpoint_every=2, kept_every=4)
    assert_same(fit(TASK, often, tmp_path / "run"), whole[0])
    steps = sorted(int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert steps == [4, 8, 12, 16, 18]


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        fit(TASK, SETTINGS, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
