"""InternVideo-MM's checkpoints, bare and as Lightning keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.converters.tools import assert_same, convert_only, params, settings, source
from tests.converters.torch_writer import write_torch
from vtcd_jax.models import InputError

CONFIG = {"num_heads": 2, "text_num_heads": 2, "num_frames": 4}


@pytest.fixture
def state(golden) -> dict[str, np.ndarray]:
    return load_file(source(golden, "internvideo_mm"))


def test_lightnings_file_gives_the_network_and_says_what_it_leaves(golden, state, tmp_path):
    inside = {f"clip.{name}": value for name, value in state.items()}
    beside = {"loss.temperature": np.ones(1, np.float32), "clip.caption_decoder.weight": np.ones((2, 2), np.float32)}
    path = write_torch(tmp_path / "x.ckpt", {"state_dict": inside | beside, "epoch": 3})
    report = convert_only(path, tmp_path / "a", config=CONFIG)
    assert (report.family, report.layout) == ("internvideo-mm", "Lightning's names")
    assert report.ignored["loss.temperature"] == "lies outside the network (clip.)"
    assert "no part in the features" in report.ignored["clip.caption_decoder.weight"]
    assert "masked sentences" in report.ignored["clip.text_mask_embedding"]
    convert_only(source(golden, "internvideo_mm"), tmp_path / "b", config=settings(golden, "internvideo_mm"))
    assert_same(params(tmp_path / "a"), params(tmp_path / "b"))


def test_extractors_are_counted_from_1_and_stand_after_the_last_blocks(golden, state, tmp_path):
    report = convert_only(source(golden, "internvideo_mm"), tmp_path / "out", config=CONFIG)
    assert report.config.extractor_blocks == (2, 3)
    kernel = params(tmp_path / "out")["extractor_2/surround/kernel"]
    np.testing.assert_array_equal(kernel[0, 1, 2], state["visual.transformer.dpe.1.weight"][:, 0, 0, 1, 2])


def test_other_places_of_the_extractors_can_be_told(golden, tmp_path):
    config = CONFIG | {"return_list": [0, 2]}
    report = convert_only(source(golden, "internvideo_mm"), tmp_path / "out", config=config)
    assert report.config.extractor_blocks == (0, 2)
    assert any("extractor_blocks" in line for line in report.changed)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CONFIG | {"extractor_blocks": [3, 2]}, "no ascending block numbers below 4"),
        (CONFIG | {"extractor_blocks": [3, 4]}, "no ascending block numbers below 4"),
        (CONFIG | {"extractor_blocks": [3]}, "has no parameter extractor_2"),
        (CONFIG | {"pseudo_clips": 3}, "num_frames = 4 is no multiple of pseudo_clips = 3"),
    ],
)
def test_settings_that_do_not_fit_are_named(golden, tmp_path, config, message):
    with pytest.raises(InputError, match=message):
        convert_only(source(golden, "internvideo_mm"), tmp_path / "out", config=config)
    assert not (tmp_path / "out").exists()


def test_a_tensor_inside_the_network_that_no_rule_knows_is_refused(state, tmp_path):
    """Only what lies outside the forward pass may be left; the original loads everything else or nothing."""
    inside = {f"clip.{name}": value for name, value in state.items()} | {"clip.visual.extra": np.ones(2, np.float32)}
    save_file(inside, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"unexpected tensor clip\.visual\.extra"):
        convert_only(tmp_path / "x.safetensors", tmp_path / "out", config=CONFIG)
