"""Passes that begin at their first edited block give what whole passes give."""

from __future__ import annotations

import dataclasses
from importlib import import_module

import jax
import numpy as np
import pytest

from tests.models.networks import NETWORKS
from vtcd_jax import models
from vtcd_jax.ablation.engine import score_blocks, tasks
from vtcd_jax.ablation.prefix import first_blocks, prefix_blocks, supports_prefix
from vtcd_jax.data import Clips
from vtcd_jax.importance import Explicit, LeaveOneOut, Random, Support, find_targets, scores
from vtcd_jax.models import sites, staged
from vtcd_jax.scores import score_functions

pytestmark = pytest.mark.compile


def run_all(run, model, clips, support, design, *, score, targets=None, **settings) -> dict[str, np.ndarray]:
    """name -> [video, mask] of all blocks of a design, NaN where a clip has no such row."""
    targets = find_targets(model, clips) if targets is None else targets
    todo = tasks(design, support.present())
    out = {name: np.full((len(clips), design.masks), np.nan, np.float32) for name in score_functions(score)}
    for block in run(model, clips, support, design, todo, score=score, targets=targets, **settings):
        for name, values in block.scores.items():
            out[name][block.video, block.start : block.stop] = values
    return out


@pytest.mark.parametrize("design", [LeaveOneOut(8), Explicit(np.eye(9, 8, dtype=np.float32))])
def test_scores_equal_those_of_whole_passes(model, clips, support, design):
    whole, later = (
        run_all(run, model, clips, support, design, score=("logit", "accuracy"))
        for run in (score_blocks, prefix_blocks)
    )
    for name in whole:
        np.testing.assert_allclose(later[name], whole[name], atol=2e-6, err_msg=name)


@pytest.mark.parametrize("mode", ["mean", "resample", "neg_inf"])
def test_every_mode_begins_later_too(model, clips, support, mode):
    settings = {"score": "logit", "mode": mode}
    whole = run_all(score_blocks, model, clips, support, LeaveOneOut(8), **settings)["logit"]
    later = run_all(prefix_blocks, model, clips, support, LeaveOneOut(8), chunk=4, **settings)["logit"]
    np.testing.assert_allclose(later, whole, atol=2e-6)


@pytest.mark.parametrize("name", ["internvideo", "tcow", "videomae-pretrain"])
def test_networks_with_another_carry_begin_later_too(name):
    """Extractor state, class tokens beside the grid, a decoder after the blocks."""
    model = models.build(NETWORKS[name], key=jax.random.key(1))
    if name == "internvideo":
        texts = np.random.default_rng(2).normal(size=(3, 12)).astype(np.float32)
        model = dataclasses.replace(model, prompts=texts, labels=("a", "b", "c"))
    p, rng = model.preprocessing, np.random.default_rng(0)
    shape = (2, p.num_frames, p.height, p.width)
    query = np.zeros(shape, bool)
    query[:, 0, :8, :8] = True
    clips = Clips.make(rng.integers(0, 256, (*shape, 3), np.uint8), ["a", "b"], labels=[0, 1], query=query)
    keys = [s for s in sites(model) if s.endswith("attn/key") and staged.block_of(model, s) is not None]
    keys = [s for s in keys if "time_attn" not in s and "extractor" not in s]
    ids = {}
    for i, site in enumerate(keys):
        ids[site] = rng.integers(2 * i, 2 * i + 2, (2, *sites(model)[site].shape[1:5], 1)).astype(np.int32)
    support = Support(ids, 2 * len(keys))
    assert supports_prefix(model, support)
    names = {"internvideo": "logit", "tcow": "soft_iou", "videomae-pretrain": "reconstruction"}
    settings = {
        "score": names[name],
        "targets": find_targets(model, clips, reference="own") if name == "tcow" else None,
    }
    whole, later = (
        run_all(run, model, clips, support, LeaveOneOut(2 * len(keys)), **settings)[names[name]]
        for run in (score_blocks, prefix_blocks)
    )
    np.testing.assert_allclose(later, whole, rtol=1e-5, atol=2e-6)


def test_designs_that_remove_little_begin_later_and_no_others(model, clips, support, monkeypatch):
    begun = []

    def spy(*arguments, **settings):
        begun.append(arguments[3])
        return prefix_blocks(*arguments, **settings)

    monkeypatch.setattr(import_module("vtcd_jax.ablation.scores"), "prefix_blocks", spy)  # a function has its name
    found = scores(model, clips, support, LeaveOneOut(8), score="logit")["logit"]
    assert begun == [LeaveOneOut(8)]
    whole = run_all(score_blocks, model, clips, support, LeaveOneOut(8), score="logit")["logit"]
    np.testing.assert_allclose(found, whole, atol=2e-6)
    scores(model, clips, support, Random(0, 4), score="logit")
    assert len(begun) == 1


def test_a_row_begins_at_the_first_block_that_it_edits(support):
    rows = np.ones((3, 8), np.float32)
    rows[0, 5] = 0
    rows[1, [5, 1]] = 0
    blocks = {"block_0/attn/key": 0, "block_1/attn/key": 1}
    np.testing.assert_array_equal(first_blocks(rows, support, 0, blocks, 2), [1, 0, 2])
