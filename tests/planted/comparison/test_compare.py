"""The whole comparison at its smallest: figures, claims, the same bytes again, hidden seeds, and what is refused."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.concepts import SlicConfig
from vtcd_jax.importance import Support
from vtcd_jax.models import InputError
from vtcd_jax.planted.circuits.importance import planned_importance
from vtcd_jax.planted.circuits.properties import GRID, NAMES
from vtcd_jax.planted.circuits.wiring import HEADS, SITES
from vtcd_jax.planted.comparison.trial import trial

SMALL = planted.ComparisonSettings(seeds=2, steps=4, controls=1, levels=(0.1, 1.0))
SECRET = "correct horse battery staple"


def places(features, video, seed):
    """Halves of the picture in two heads, and of the time in two; the same on any clips."""

    def label(features, video):
        t, y, x = np.indices(GRID)
        parts = [x >= GRID[2] / 2, y >= GRID[1] / 2, t >= GRID[0] / 2, t >= GRID[0] * 3 / 4]
        ids = np.stack([2 * h + part for h, part in enumerate(parts)], -1)
        return {SITES[0]: np.broadcast_to(ids, (len(video), *GRID, HEADS))}

    return label


def by_exact(instances):
    """A ranker that knows the truth, with which the metrics of ranking must be perfect."""
    known = {i[:4].clips.hashes: i[:4] for i in instances}

    def rank(model, clips, concepts, key):
        return planned_importance(known[tuple(clips.hashes)], Support.of(concepts))

    return rank


@pytest.mark.compile
def test_known_concepts_have_known_figures():
    instance = planted.instance(0, 8)
    method = planted.from_arrays(places, by_exact([instance]))
    result = trial(instance, instance.model(0.1), method, steps=4, controls=1)
    found, groups = result["found"], result["groups"]
    assert found.keys() == groups.keys()
    for name in ("left", "right", "top", "bottom", "early", "late", "end"):
        assert found[f"matched/{name}"] == found[f"iou/{name}"] == 1
    assert found["units"] == 8 and found["price"] == 1
    assert 7 / len(NAMES) <= found["score"] == found["matched/mean"] < 8 / len(NAMES) + 0.01
    assert found["agreement"] == pytest.approx(1) and found["order"] == pytest.approx(1) and found["top"] == 1
    assert groups["iou/left"] < 0.5


@pytest.mark.compile
def test_equal_settings_give_equal_bytes_and_a_method_is_judged_at_every_level():
    methods = {"mine": planted.from_arrays(places, lambda model, clips, concepts, key: np.arange(len(concepts)))}
    one, other = (planted.compare(methods, SMALL, workers=n) for n in (1, 2))
    first, second = (json.dumps(report.to_json(), allow_nan=False) for report in (one, other))
    assert first == second
    told = json.loads(first)
    assert told["format"] == "vtcd-benchmark/2" and [level["noise"] for level in told["levels"]] == [0.1, 1.0]
    assert told["settings"]["seed"] == 0 and "hidden_seed" not in first
    figures = told["levels"][0]["figures"]["mine"]
    assert len(figures["found"]["score"]["values"]) == 2 and figures.keys() == {"found", "groups"}
    claims = {c["claim"]: c["passed"] for c in told["levels"][0]["claims"]["mine"]}
    assert claims["properties are recovered better than by random groups"] is True
    assert claims["importance agrees with the exact one: correlation above 0.9"] is False
    low, high = (level["ceiling"]["iou/mean"]["mean"] for level in told["levels"])
    assert 1 > low > high > figures["found"]["iou/mean"]["mean"]
    said = planted.comparison_lines(one)
    assert sum(line.startswith("| mine |") for line in said) == 2 and any("NO" in line for line in said)


@pytest.mark.compile
def test_the_baselines_are_methods(instance, circuits):
    """Each finds concepts of the network and finds them again; the whole is slow, so with little work for each."""
    few = planted.VtcdSettings(masks=32)
    known = planted.baselines(few)
    assert tuple(known) == planted.BASELINES
    for name in ("k-means", "tree", "random-groups"):
        concepts = known[name].discover(circuits, instance[:2].clips, jax.random.key(0))
        again = known[name].assign(circuits, instance[2:].clips, concepts)
        assert len(concepts) == len(again) and set(concepts.ids) == set(SITES)
    ranked = {
        name: known[name].rank(circuits, instance[:2].clips, concepts, jax.random.key(0))
        for name in ("k-means", "occlusion", "gradients")
    }
    assert not np.allclose(ranked["occlusion"], ranked["gradients"])


@pytest.mark.slow
@pytest.mark.compile
def test_random_tubelets_as_centres_learn_nothing_and_are_carried_over(instance, circuits):
    few = planted.VtcdSettings(masks=32, slic=SlicConfig(resolution="token"))
    method = planted.baselines(few)["random-centres"]
    concepts = method.discover(circuits, instance[:2].clips, jax.random.key(0))
    tubelets = concepts.tubelets
    for k, (site, head) in enumerate(zip(concepts.site, concepts.head, strict=True)):
        own = tubelets.feature[(tubelets.site == site) & (tubelets.head == head)]
        assert (np.abs(own - concepts.dictionary[k]).max(1) == 0).any()
    again = method.assign(circuits, instance[2:].clips, concepts)
    t = again.tubelets
    for row in range(0, len(t), 7):
        own = np.flatnonzero((concepts.site == t.site[row]) & (concepts.head == t.head[row]))
        distance = ((concepts.dictionary[own] - t.feature[row]) ** 2).sum(1)
        assert again.assignment[row] == own[distance.argmin()]


@pytest.mark.slow
@pytest.mark.compile
def test_random_centres_of_tokens_and_their_unions_are_carried_over(instance, circuits):
    few = planted.VtcdSettings(masks=32, slic=SlicConfig(resolution="token"))
    method = planted.baselines(few)["random-centres-tree"]
    concepts = method.discover(circuits, instance[:2].clips, jax.random.key(0))
    assert concepts.parent is not None and concepts.origin is not None and len(concepts) > concepts.leaves
    for k in range(concepts.leaves):
        own = (concepts.origin.site == concepts.site[k]) & (concepts.origin.head == concepts.head[k])
        assert (np.abs(concepts.origin.feature[own] - concepts.centres[k]).max(1) == 0).any()
    again = method.assign(circuits, instance[2:].clips, concepts)
    assert np.array_equal(again.centres, concepts.centres) and np.array_equal(again.parent, concepts.parent)


def test_a_hidden_seed_gives_its_own_instances_and_stays_hidden():
    hidden = planted.ComparisonSettings(hidden_seed=SECRET)
    other = planted.ComparisonSettings(hidden_seed=SECRET + "!")
    assert hidden.all_seeds() == planted.ComparisonSettings(hidden_seed=SECRET).all_seeds() != other.all_seeds()
    assert len(set(hidden.all_seeds())) == 5 and min(hidden.all_seeds()) > 1000
    report = planted.Comparison(hidden, ())
    told = json.dumps(report.to_json())
    assert SECRET not in told and len(report.to_json()["settings"]["hidden_seed_sha256"]) == 64
    assert not any(str(seed) in told for seed in hidden.all_seeds())
    assert planted.ComparisonSettings().all_seeds() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"clips": 4}, "clips"), ({"seeds": 0}, "seeds"), ({"seed": -1}, "seed"), ({"levels": ()}, "levels"),
        ({"levels": (1.0, 1.0)}, "levels"), ({"levels": (-1.0,)}, "levels"), ({"hidden_seed": "short"}, "hidden-seed"),
        ({"hidden_seed": SECRET, "seed": 3}, "exclude"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(fields, word):
    with pytest.raises(InputError, match=word):
        planted.ComparisonSettings(**fields)


def test_no_methods_are_refused():
    with pytest.raises(InputError, match="no methods"):
        planted.compare({})
