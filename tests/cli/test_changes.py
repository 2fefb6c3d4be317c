"""A quick run goes on with another preset: only what depends on the changed settings is done again, and the result is
that of a run that was begun so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .tiny import vtcd

pytestmark = pytest.mark.compile

MORE = (
    "--masks",
    96,
    "--control-masks",
    48,
    "--nmf.refits",
    0,
    "--controls",
    5,
    "--top",
    8,
    "--steps",
    4,
    "--repeats",
    1,
)


@pytest.fixture(scope="module")
def asked(model) -> tuple[object, ...]:
    return ("run", "world:8", "--model", model, "--hold-out", "0.5", "--target", "0")


@pytest.fixture(scope="module")
def quick(asked, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "quick"
    said = vtcd(*asked, "--preset", "quick", "--out", out)
    assert said.code == 0, said.err
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".csv", ".safetensors", ".npz")}


def test_a_quick_run_ranks_by_slopes_of_one_score_and_says_that_it_has_no_control(quick):
    settings = json.loads((quick / "config.json").read_text())["settings"]
    assert settings["design"] == "slopes" and settings["scores"] == ["log_probability"]
    assert "No control was run" in (quick / "report" / "index.html").read_text("utf-8")


def test_it_goes_on_as_if_it_had_been_begun_so(quick, asked, tmp_path):
    on = shutil.copytree(quick, tmp_path / "on")
    said = vtcd(*asked, "--resume", "--preset", "standard", *MORE, "--out", on)
    assert said.code == 0, said.err
    assert "masks: 12 -> 96" in said.out and "done again: rank, curves, report" in said.out
    fresh = tmp_path / "fresh"
    assert vtcd(*asked, *MORE, "--out", fresh).code == 0
    assert contents(on) == contents(fresh) and contents(on)["concepts.csv"] == contents(quick)["concepts.csv"]
    assert json.loads((on / "config.json").read_text())["settings"]["design"] == "joined"
    again = vtcd(*asked, "--resume", "--preset", "standard", *MORE, "--out", on)
    assert again.code == 0 and "changed" not in again.out


@pytest.mark.parametrize("options, word", [
    (("--resume", "--preset", "standard", "--seed", 1), "settings.seed: 0 -> 1"),
    (("--resume", "--preset", "standard", "--target", "1"), "target"),
    (("--resume", "--masks", 96, "--design", "slopes"), "masks: "),
])  # fmt: skip
def test_what_a_run_rests_on_cannot_change_nor_anything_without_a_preset(quick, asked, tmp_path, options, word):
    on = shutil.copytree(quick, tmp_path / "on")
    before = contents(on), (on / "config.json").read_bytes()
    said = vtcd(*asked, *options, "--out", on)
    assert said.code == 2 and word in said.err and "--overwrite" in said.err
    assert (contents(on), (on / "config.json").read_bytes()) == before
