"""ViCLIP's checkpoints, at the number of frames they were trained with and at others."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.converters.tools import assert_same, convert_only, params, settings, source
from tests.converters.torch_writer import write_torch

CONFIG = {"num_heads": 2, "text_num_heads": 2}


@pytest.fixture
def state(golden) -> dict[str, np.ndarray]:
    return load_file(source(golden, "viclip"))


def test_the_published_container_is_opened(golden, state, tmp_path):
    report = convert_only(write_torch(tmp_path / "x.pth", {"model": state}), tmp_path / "a", config=CONFIG)
    assert (report.family, report.config.num_frames) == ("viclip", 4)
    assert "training loss" in report.ignored["temp"]
    convert_only(source(golden, "viclip"), tmp_path / "b", config=settings(golden, "viclip"))
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))


@pytest.mark.parametrize("frames", [2, 6])
def test_other_numbers_of_frames_cut_the_table_off_or_fill_it_with_zeros(golden, state, tmp_path, frames):
    convert_only(source(golden, "viclip"), tmp_path / "out", config=CONFIG | {"num_frames": frames})
    stored = state["vision_encoder.temporal_positional_embedding"][0]
    expected = np.concatenate([stored, np.zeros((4, 32), np.float32)])[:frames]
    np.testing.assert_array_equal(params(tmp_path / "out")["embedding/times"], expected)


def test_projections_are_taken_as_they_are(golden, state, tmp_path):
    """They are bare arrays [in, out], unlike linear layers."""
    convert_only(source(golden, "viclip"), tmp_path / "out", config=CONFIG)
    found = params(tmp_path / "out")
    np.testing.assert_array_equal(found["projection"], state["vision_encoder.proj"])
    np.testing.assert_array_equal(found["text/projection"], state["text_encoder.text_projection"])
