"""A plan is arithmetic on one measured block: its parts add up."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from vtcd_jax.ablation.engine import scores as run_scores
from vtcd_jax.ablation.support import Support
from vtcd_jax.pipeline.planning import plan, stand_in
from vtcd_jax.pipeline.settings import RunSettings
from vtcd_jax.pipeline.sources import prepare
from vtcd_jax.scores.targets import Targets


@pytest.fixture(scope="module")
def settings(model):
    return RunSettings(clips="world:12", model=str(model), target="0", hold_out=0.5, masks=100, steps=20, repeats=5)


@pytest.fixture(scope="module")
def prepared(settings):
    return prepare(settings)


@pytest.fixture(scope="module")
def planned(settings, prepared):
    return plan(settings, prepared)


def test_the_parts_add_up(planned, prepared):
    assert (planned.clips, planned.held_out, planned.chunk) == (6, 6, 1)
    assert planned.concepts == 2 * 2 * 14  # layers, heads, the most that the elbow rule can choose
    assert planned.passes == 6 * (100 + 1) + 6 * (2 + 5) * 21 + 6 * (100 + 21)
    assert planned.pass_seconds > 0 and planned.segment_seconds > 0
    passes = sum(planned.stages[name] for name in ("ranking", "curves", "control"))
    assert passes == pytest.approx(planned.passes * planned.pass_seconds)
    assert planned.stages["tubelets"] == pytest.approx((6 + 6) * 2 * 2 * planned.segment_seconds)
    assert planned.seconds > sum(planned.stages.values()) and min(planned.stages.values()) >= 0
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(prepared.model.params))
    assert parameters < planned.memory < 100 * parameters + 2**24


def test_more_masks_cost_passes_and_no_memory(planned, settings, prepared):
    more = plan(dataclasses.replace(settings, masks=1000), prepared)
    assert more.passes == planned.passes + 6 * (900 + 256 - 100) and more.concepts == planned.concepts
    assert more.memory == planned.memory


def test_without_held_out_clips_curves_are_drawn_on_the_ranked_ones(settings, prepared):
    alone = dataclasses.replace(prepared, held_out=None, held_out_targets=None)
    fixed = dataclasses.replace(settings.nmf, elbow=dataclasses.replace(settings.nmf.elbow, rule="fixed", number=2))
    found = plan(dataclasses.replace(settings, nmf=fixed, chunk=4), alone)
    assert (found.clips, found.held_out, found.concepts, found.chunk) == (6, 0, 8, 4)
    steps = len(np.unique(np.round(np.linspace(0, 8, 21))))
    assert found.passes == 6 * 101 + 6 * 7 * steps + 6 * (100 + steps)


def test_the_stand_in_has_every_concept_in_its_own_head():
    shapes = {"a": (1, 2, 3, 3, 2, 4), "b": (1, 2, 3, 3, 3, 4)}
    ids = stand_in(shapes, 5)
    support = Support(ids, 25)
    assert support.present().all()
    for site, begun in (("a", 0), ("b", 10)):
        for head in range(shapes[site][4]):
            found = np.unique(ids[site][..., head, :])
            np.testing.assert_array_equal(found, begun + 5 * head + np.arange(5))


def test_the_timed_block_is_the_engines(prepared, settings):
    """What is timed is what runs: the stand-in goes through the engine."""
    from vtcd_jax.concepts import concept_sites
    from vtcd_jax.models import sites

    model = prepared.model
    shapes = {name: sites(model)[name].shape for name in concept_sites(model)}
    support = Support(stand_in(shapes, 3), 12)
    gates = np.concatenate([np.ones((1, 12)), np.zeros((1, 12))]).astype(np.float32)
    found = run_scores(
        model, prepared.clips[[0]], support, gates, score=("logit",), targets=Targets(np.zeros(1, np.int32))
    )
    assert found["logit"].shape == (1, 2) and found["logit"][0, 0] != found["logit"][0, 1]
