"""The scripts of the paper's tables: areas, intervals, marks, and the ceiling of whole tokens."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models.families.videomae import VideoMAEConfig

SCORE = "logit"


@pytest.fixture
def scripts(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return {name: importlib.import_module(name) for name in ("removal", "table1", "table4")}


def test_areas_are_averaged_over_sets_and_kept_by_seed(scripts):
    removal = scripts["removal"]
    assert removal.area(np.array([1.0, 1.0, 0.0])) == 0.75
    drawn = [
        removal.Drawn("tokens", "CRIS", "positive", group, seed, {SCORE: np.full(3, group + 10.0 * seed)})
        for group in (0, 1)
        for seed in (0, 1, 2)
    ]
    np.testing.assert_allclose(removal.areas(drawn, SCORE), [0.5, 10.5, 20.5])
    assert removal.half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    assert np.isnan(removal.half_width(np.array([1.0])))


def test_a_row_is_marked_where_it_is_clearly_worse_or_better_seed_by_seed(scripts):
    """Seeds differ far more than methods do; only the differences within a seed count."""
    removal, table1 = scripts["removal"], scripts["table1"]
    shift = {("random crops", "CRIS"): 0.5, ("tokens", "occlusion"): -0.5}
    rng = np.random.default_rng(0)
    drawn = [
        removal.Drawn(name, method, order, 0, seed, {SCORE: np.full(2, value)})
        for name, way in table1.WAYS.items()
        for method in way.methods
        for order, sign in (("positive", 1), ("negative", -1))
        for seed in range(4)
        for value in [10.0 * seed + sign * shift.get((name, method), 0.0) + 0.01 * rng.normal()]
    ]
    rows = table1.rows_of("m", drawn, (SCORE,))
    text = table1.table(rows)
    lines = {tuple(cell.strip() for cell in line.split("|")[1:3]): line for line in text.splitlines()[2:]}
    assert len(lines) == sum(len(way.methods) for way in table1.WAYS.values())
    assert lines["random crops", "CRIS"].count("−") == 2 and "+" not in lines["random crops", "CRIS"]
    assert lines["tokens", "occlusion"].count(" +") == 2
    assert lines["random crops", "occlusion"].count("−") == 0


def test_whole_tokens_are_those_that_a_mask_covers_to_half(scripts):
    table4 = scripts["table4"]
    config = VideoMAEConfig(image_size=8, patch_size=4, num_frames=4, width=8, depth=1, num_heads=2, num_classes=2)
    model = models.build(config, params={})
    masks = np.zeros((1, 4, 8, 8), bool)
    masks[0, :2, :4, :2] = True  # half of a token
    masks[0, 2:, 4:, 4:5] = True  # a quarter of another
    tokens = table4.whole_tokens(model, masks)
    assert tokens[0, :2, :4, :4].all() and tokens.sum() == 2 * 4 * 4
    assert table4.iou(tokens, masks) == pytest.approx(16 / (32 + 8))
    assert table4.iou(np.stack([masks[0], masks[0]]), np.stack([masks[0], np.zeros_like(masks[0])])) == 1
