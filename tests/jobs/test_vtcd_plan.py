"""A plan is arithmetic on a few measured pieces: its parts add up."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from vtcd_jax.ablation import Support, scores
from vtcd_jax.ablation.cost import worst_case_support
from vtcd_jax.concepts import concept_sites
from vtcd_jax.jobs.plan import Plan, duration
from vtcd_jax.jobs.vtcd import JOB, RunSettings
from vtcd_jax.jobs.vtcd.inputs import load_inputs
from vtcd_jax.jobs.vtcd.plan import measure, sizes
from vtcd_jax.models import sites
from vtcd_jax.runs.work import silent
from vtcd_jax.scores import Targets

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def settings(model):
    sizes = {"hold_out": 0.5, "masks": 100, "steps": 20, "repeats": 5, "design": "folded-hadamard"}
    return RunSettings(clips="world:12", model=str(model), target="0", **sizes)


@pytest.fixture(scope="module")
def inputs(settings):
    return load_inputs(settings, silent)


@pytest.fixture(scope="module")
def rates(settings, inputs):
    return measure(settings, inputs)


def planned(settings, inputs, rates) -> Plan:
    return Plan((), tuple(cost for stage in JOB.stages for cost in stage.cost(settings, inputs, rates)))


def test_the_parts_add_up(settings, inputs, rates):
    size, plan = sizes(settings, inputs), planned(settings, inputs, rates)
    assert (size.clips, size.held_out, size.heads, rates.passes.chunk) == (6, 6, 2 * 2, 1)
    assert size.concepts == 2 * 2 * 14  # layers, heads, the most that the elbow rule can choose
    assert plan.passes == 6 * (100 + 1) + 6 * (2 + 5) * 21 + 2 * 6 * (100 + 21)
    seconds = {cost.name: cost.seconds for cost in plan.costs}
    assert "tubelets" not in seconds, "concepts are found in single tokens"
    passes = sum(seconds[name] for name in ("ranking", "curves", "controls"))
    assert rates.passes.seconds > 0 and passes == pytest.approx(plan.passes * rates.passes.seconds)
    assert plan.seconds > sum(seconds.values()) and min(seconds.values()) >= 0
    parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(inputs.model.params))
    assert parameters < plan.memory < 100 * parameters + 2**24


def test_tubelets_are_measured_and_paid_for_every_head_and_clip(settings, inputs):
    asked = dataclasses.replace(settings, slic=dataclasses.replace(settings.slic, proposals="slic"))
    rates = measure(asked, inputs)
    seconds = {cost.name: cost.seconds for cost in planned(asked, inputs, rates).costs}
    assert rates.segment > 0 and seconds["tubelets"] == pytest.approx((6 + 6) * 2 * 2 * rates.segment)


def test_slopes_are_measured_and_paid_from_the_masks(settings, inputs):
    """One smooth score: a row of slopes for three masks, half of them beside masks."""
    names = tuple(name for name in inputs.scores if name != "accuracy")[:1]
    smooth = dataclasses.replace(inputs, scores=names)
    for design, masks, rows in (("slopes", 0, 33), ("joined", 100 - 3 * 16, 16), ("auto", 100 - 3 * 16, 16)):
        asked = dataclasses.replace(settings, design=design)
        rates = measure(asked, smooth)
        costs = {cost.name: cost for cost in planned(asked, smooth, rates).costs}
        assert (costs["ranking"].passes, costs["slopes"].passes) == (6 * (masks + 1), 6 * rows)
        assert rates.slopes is not None and rates.slopes.seconds > 0
        assert costs["slopes"].seconds == pytest.approx(6 * rows * rates.slopes.seconds)


def test_more_masks_cost_passes_and_no_memory(settings, inputs, rates):
    few, more = (planned(dataclasses.replace(settings, masks=m), inputs, rates) for m in (100, 1000))
    assert more.passes == few.passes + 6 * (900 + 2 * (512 - 100)) and more.memory == few.memory


def test_without_held_out_clips_curves_are_drawn_on_the_ranked_ones(settings, inputs, rates):
    alone = dataclasses.replace(inputs, held_out=None, held_out_targets=None)
    fixed = dataclasses.replace(settings.nmf, elbow=dataclasses.replace(settings.nmf.elbow, rule="fixed", number=2))
    fewer = dataclasses.replace(settings, nmf=fixed)
    size, plan = sizes(fewer, alone), planned(fewer, alone, rates)
    assert (size.clips, size.held_out, size.concepts) == (6, 0, 8)
    steps = len(np.unique(np.round(np.linspace(0, 8, 21))))
    assert plan.passes == 6 * 101 + 6 * 7 * steps + 2 * 6 * (100 + steps)


def test_each_number_of_passes_names_the_option_that_bounds_it(settings, inputs, rates):
    text = "\n".join(planned(settings, inputs, rates).lines())
    for option in ("--masks", "--steps and --repeats", "--control-masks", "--top"):
        assert option in text


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (119, "119 s"), (150, "2.5 min"), (9000, "2.5 h")])
def test_long_times_are_said_in_minutes_and_hours(seconds, words):
    assert duration(seconds) == words


def test_the_stand_in_has_every_concept_in_its_own_head(inputs):
    names = concept_sites(inputs.model)
    support = worst_case_support(inputs.model, names, 5)
    assert support.concepts == 2 * 2 * 5 and support.present().all()
    for s, site in enumerate(names):
        for head in range(sites(inputs.model)[site].shape[4]):
            ids = np.unique(support.ids[site][..., head, :])
            np.testing.assert_array_equal(ids, 10 * s + 5 * head + np.arange(5))


def test_the_timed_block_is_the_engines(inputs):
    """What is timed is what runs: the stand-in goes through the engine."""
    support = worst_case_support(inputs.model, concept_sites(inputs.model), 3)
    gates = np.concatenate([np.ones((1, 12)), np.zeros((1, 12))]).astype(np.float32)
    targets = Targets(np.zeros(1, np.int32))
    found = scores(inputs.model, inputs.clips[[0]], support, gates, score="logit", targets=targets)
    assert found["logit"].shape == (1, 2) and found["logit"][0, 0] != found["logit"][0, 1]
    assert isinstance(support, Support)
