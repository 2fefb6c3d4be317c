"""Presets: every choice of the authors at once; a file and the command line override them."""

from __future__ import annotations

import pytest

from vtcd_jax.cli import _parse
from vtcd_jax.concepts import NmfConfig, SlicConfig
from vtcd_jax.jobs.vtcd import JOB, RunSettings
from vtcd_jax.models import InputError

ASKED = ("run", "clips", "--model", "world-videomae", "--out", "run")


def settings(*options: str) -> RunSettings:
    """What the command line makes of its options."""
    return _parse([*ASKED, *options]).keywords["settings"]  # type: ignore[attr-defined]


def test_released_is_every_choice_of_the_authors_code():
    found = settings("--preset", "released")
    assert (found.estimator, found.design, found.ratio, found.masks) == ("released", "random", 0.5, 4000)
    assert found.nmf == NmfConfig.released() and found.nmf.assign == "tubelets" and found.nmf.tree == 0
    assert found.slic == SlicConfig(proposals="slic", grid_rule="nearest", resolution="half", compactness=0.1)


def test_paper_is_every_choice_of_the_papers_text():
    found = settings("--preset=paper")
    assert (found.estimator, found.design, found.masks) == ("paper", "random", 4000)
    assert found.nmf == NmfConfig.paper() and found.nmf.elbow.level == 0.9


def test_quick_is_a_small_part_of_the_effort():
    found, usual = settings("--preset", "quick"), RunSettings("clips", "m")
    assert (found.design, found.masks, found.control_masks, found.nmf.refits) == ("slopes", 12, 0, 0)
    assert found.steps < usual.steps / 4 and found.repeats == 1
    assert settings("--preset", "standard") == settings()
    more = settings("--preset", "thorough")
    assert more.masks > usual.masks and more.steps > usual.steps and more.nmf.refits > usual.nmf.refits


def test_a_file_overrides_a_preset_and_the_command_line_overrides_both(tmp_path):
    (tmp_path / "own.toml").write_text("masks = 60\nseed = 3\n[slic]\ncompactness = 0.01\n")
    found = settings("--preset", "released", "--config", str(tmp_path / "own.toml"), "--seed", "4")
    assert (found.masks, found.seed, found.slic.compactness, found.nmf.max_steps) == (60, 4, 0.01, 10_000)
    assert found.slic.grid_rule == "nearest" and found.estimator == "released"


def test_without_a_preset_nothing_changes():
    assert settings() == RunSettings("clips", "world-videomae")


def test_presets_hold_only_known_settings():
    for name in JOB.presets:
        settings("--preset", name)


def test_a_hierarchy_with_a_design_that_knows_none_is_refused_before_any_work():
    for design in ("random", "slopes", "joined"):
        with pytest.raises(InputError, match=f"ranked by --design folded-hadamard, .*{design}' knows none"):
            RunSettings("clips", "m", design=design, nmf=NmfConfig(tree=0.5))  # type: ignore[arg-type]


def test_an_unknown_preset_is_named_with_the_known_ones():
    with pytest.raises(
        InputError, match="--preset fast: no such preset; known: quick, standard, thorough, released, paper"
    ):
        settings("--preset", "fast")
