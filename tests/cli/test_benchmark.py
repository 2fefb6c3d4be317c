"""`vtcd benchmark`: tables, JSON files that are the same again, and what is refused before any work."""

from __future__ import annotations

import json

import pytest

from tests.cli.tiny import vtcd
from vtcd_jax.planted import Comparison, Report, Settings

pytestmark = pytest.mark.compile

TINY = (
    "benchmark", "--clips", "8", "--seeds", "1", "--steps", "4", "--controls", "2", "--masks", "48",
    "--slic.resolution", "token", "--nmf.elbow.rule", "fixed", "--nmf.elbow.number", "3", "--nmf.restarts", "1",
    "--nmf.max-steps", "40", "--proposals", "crops",
)  # fmt: skip


def test_the_table_and_the_file(tmp_path):
    out = tmp_path / "new" / "judged.json"
    said = vtcd(*TINY, "--out", out, "--quiet")
    assert said.code == 0 and said.err == "", said.err
    assert "crops: 18 concepts" in said.out and str(out) in said.out
    written = json.loads(out.read_text())
    assert written["settings"] == {"clips": 8, "seeds": 1, "seed": 0, "steps": 4, "controls": 2, "noise": 0.1}
    assert written["method"]["masks"] == 48 and written["passed"] == {"crops": None}
    assert {claim["passed"] for claim in written["claims"]["crops"]} == {None}
    before = out.read_bytes()
    refused = vtcd(*TINY, "--out", out)
    assert refused.code == 2 and str(out) in refused.err and "--overwrite" in refused.err
    assert out.read_bytes() == before


def test_overwrite_replaces_the_file(tmp_path, monkeypatch):
    out = tmp_path / "judged.json"
    out.write_text("before")
    report = Report(Settings(), {}, {})
    monkeypatch.setattr("vtcd_jax.planted.benchmark", lambda methods, settings, workers, work: report)
    assert vtcd("benchmark", "--out", out, "--overwrite").code == 0
    assert json.loads(out.read_text())["format"] == "vtcd-benchmark/1"
    first = out.read_bytes()
    assert vtcd("benchmark", "--out", out, "--overwrite").code == 0 and out.read_bytes() == first


@pytest.mark.parametrize(
    ("option", "word"),
    [(("--clips", "3"), "--clips 3"), (("--seeds", "0"), "--seeds 0"), (("--masks", "1"), "--masks 1"),
     (("--proposals",), "--proposals"), (("--noise", "-1"), "--noise"),
     (("--nmf.elbow.threshold", "0.9"), "rule 'knee' has none")],
)  # fmt: skip
def test_bad_numbers_are_refused(option, word):
    said = vtcd("benchmark", *option)
    assert said.code == 2 and word in said.err and "Traceback" not in said.err


def test_a_dry_run_counts_and_writes_nothing(tmp_path):
    said = vtcd("benchmark", "--clips", "16", "--seeds", "3", "--dry-run", "--out", tmp_path / "a.json")
    assert said.code == 0 and "9 trials" in said.out and list(tmp_path.iterdir()) == []


SECOND = (
    "benchmark", "--version", "2", "--clips", "8", "--seeds", "1", "--steps", "4", "--controls", "1", "--masks", "32",
)  # fmt: skip


@pytest.mark.slow
def test_version_2_writes_its_tables_and_the_same_file_again(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    options = (*SECOND, "--levels", "0.1", "1", "--methods", "k-means", "random-groups", "--quiet")
    said = vtcd(*options, "--out", one)
    assert said.code == 0 and said.err == "", said.err
    assert "noise 0.1" in said.out and said.out.count("| k-means |") == 2
    assert vtcd(*options, "--out", other).code == 0 and one.read_bytes() == other.read_bytes()
    written = json.loads(one.read_text())
    assert written["format"] == "vtcd-benchmark/2" and written["method"]["masks"] == 32
    scores = {name: kinds["found"]["score"]["mean"] for name, kinds in written["levels"][0]["figures"].items()}
    assert scores["k-means"] > 2 * scores["random-groups"]


def test_a_hidden_seed_is_not_in_the_file(tmp_path, monkeypatch):
    seen, secret, out = [], "0123456789abcdef0123", tmp_path / "judged.json"

    def compare(methods, settings, workers, work):
        seen.append(settings)
        return Comparison(settings, ())

    monkeypatch.setattr("vtcd_jax.planted.compare", compare)
    said = vtcd("benchmark", "--version", "2", "--hidden-seed", secret, "--out", out)
    assert said.code == 0 and seen[0].hidden_seed == secret
    assert secret not in out.read_text() + said.out and "hidden_seed_sha256" in out.read_text()


def test_a_dry_run_of_version_2_counts_and_writes_nothing(tmp_path):
    said = vtcd("benchmark", "--version", "2", "--seeds", "3", "--dry-run", "--out", tmp_path / "a.json")
    assert said.code == 0 and "153 trials" in said.out and "3 networks" in said.out and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [(("--levels", "1"), "--levels belongs to version 2"), (("--hidden-seed", "x"), "belongs to version 2"),
     (("--version", "2", "--noise", "1"), "--noise belongs to version 1"),
     (("--version", "2", "--methods", "magic"), "magic"), (("--version", "2", "--hidden-seed", "x"), "16"),
     (("--version", "2", "--clips", "4"), "--clips 4"), (("--version", "3"), "version")],
)  # fmt: skip
def test_options_of_the_other_version_and_bad_ones_are_refused(options, word):
    said = vtcd("benchmark", *options, "--dry-run")
    assert said.code == 2 and word in said.err and "Traceback" not in said.err
