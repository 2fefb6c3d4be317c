"""What a table can say: shapes that follow the settings, settings that the user may change, foreign values."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.converters.tools import convert_only, settings, source
from vtcd_jax.converters import layouts
from vtcd_jax.converters.families.videomae import LAYOUTS
from vtcd_jax.converters.files.containers import open_checkpoint
from vtcd_jax.converters.tables.resizing import bicubic_2d, nearest_1d
from vtcd_jax.converters.tables.rules import Rule, make, plan
from vtcd_jax.converters.tables.settings import Vocabulary, translate
from vtcd_jax.models import InputError
from vtcd_jax.models.families.videomae import VideoMAEConfig

ORIGINAL = next(layout for layout in LAYOUTS if layout.name == "original VideoMAE names")
TABLE = np.random.default_rng(0).normal(size=(1, 9, 4)).astype(np.float32)


def planned(tmp_path: Path, rule: Rule, shape: tuple[int, ...]):
    save_file({"positions": TABLE}, tmp_path / "x.safetensors")
    tensors = open_checkpoint(tmp_path / "x.safetensors").content
    return plan(tensors, {name: name for name in tensors}, (rule,), {"table": shape})


# -- shapes that follow ---------------------------------------------------------------------------------------------
def test_a_rule_resizes_and_the_report_says_from_what(tmp_path):
    found = planned(tmp_path, Rule("positions", "table", resize=nearest_1d), (1, 18, 4))
    assert found.problems == () and found.rows[0].transform == "identity, resized from 1x9x4"
    np.testing.assert_array_equal(make(found.fills["table"]), np.repeat(TABLE, 2, axis=1))
    same = planned(tmp_path, Rule("positions", "table", resize=nearest_1d), (1, 9, 4))
    assert same.rows[0].transform == "identity"
    np.testing.assert_array_equal(make(same.fills["table"]), TABLE)


@pytest.mark.parametrize(
    ("rule", "shape", "says"),
    [
        (Rule("positions", "table"), (1, 18, 4), r"the shape \[1, 9, 4\], expected \[1, 18, 4\]$"),
        (Rule("positions", "table", resize=nearest_1d), (1, 18, 5), "cannot be resized .*only the number of positions"),
        (Rule("positions", "table", resize=bicubic_2d), (1, 12, 4), "cannot be resized .*only square grids"),
    ],
)
def test_shapes_that_cannot_follow_are_refused(tmp_path, rule, shape, says):
    (problem,) = planned(tmp_path, rule, shape).problems
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(problem)


# -- settings ------------------------------------------------------------------------------------------------------
@pytest.fixture
def telling(monkeypatch):
    """The classifier's table as if its tensors told 8 frames; ``resizable`` as given."""

    def use(**changes):
        told = ORIGINAL
        layout = dataclasses.replace(told, sizes=lambda shapes: told.sizes(shapes) | {"num_frames": 8}, **changes)
        monkeypatch.setattr(layouts, "layouts", lambda: [layout])

    return use


def test_the_user_changes_what_the_table_allows(golden, tmp_path, telling):
    told = {"num_heads": 3, "image_size": 32, "num_frames": 16}
    telling()
    with pytest.raises(InputError, match="config says num_frames = 16, the tensors say 8"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=told)
    telling(resizable=("num_frames",))
    report = convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=told)
    assert report.config.num_frames == 16 and report.changed == ("num_frames 8 -> 16",)
    assert "changed: num_frames 8 -> 16" in report.table()
    with pytest.raises(InputError, match="config says width = 96, the tensors say 48"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "n", config={**told, "width": 96})


def test_foreign_values_become_ours_or_are_refused():
    words = {"small": 3, "base": 12}

    def heads(value):
        if value not in words:
            raise ValueError("small or base")
        return words[value]

    vocabulary = Vocabulary({"arch": "num_heads"}, {}, "", values={"arch": heads})
    assert translate({"arch": "base"}, vocabulary, VideoMAEConfig, "x").fields == {"num_heads": 12}
    for strict in (True, False):
        (problem,) = translate({"arch": "huge"}, vocabulary, VideoMAEConfig, "x", strict=strict).problems
        assert problem.text == "x says arch = 'huge', which is not supported (small or base)"


def test_settings_inside_others_have_dotted_names():
    vocabulary = Vocabulary({"vision.heads": "num_heads"}, {"vision.act": ("gelu",)}, "drop.*")
    given = {"vision": {"heads": 3, "act": "gelu", "dropout": 0.0}, "depth": 2}
    told = translate(given, vocabulary, VideoMAEConfig, "x")
    assert told.fields == {"num_heads": 3, "depth": 2} and told.problems == ()
    told = translate({"vision": {"act": "relu", "rotary": 1}}, vocabulary, VideoMAEConfig, "x")
    assert "vision.act = 'relu'" in told.problems[0].text
    assert "'vision.rotary', which is not known" in told.problems[1].text


def test_a_checkpoint_that_fits_two_families_needs_a_word(golden, tmp_path, monkeypatch):
    twin = dataclasses.replace(ORIGINAL, family="videomae-pretrain")
    monkeypatch.setattr(layouts, "layouts", lambda: [ORIGINAL, twin])
    with pytest.raises(InputError, match="could be videomae-classifier and videomae-pretrain; choose with --family"):
        convert_only(source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"))
    report = convert_only(
        source(golden, "videomae_ft"), tmp_path / "m", config=settings(golden, "videomae_ft"),
        family="videomae-classifier",
    )  # fmt: skip
    assert report.family == "videomae-classifier"
