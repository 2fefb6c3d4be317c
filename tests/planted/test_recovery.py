"""Counting, choosing and planned scores, on concepts whose right figures can be told by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.importance import Support, scores
from vtcd_jax.planted.evaluation import recovery, trials
from vtcd_jax.planted.evaluation.intervals import Interval, above, ahead, better, interval
from vtcd_jax.planted.evaluation.methods import permuted_concepts
from vtcd_jax.planted.network.analytic import planned_importance, planned_scores
from vtcd_jax.planted.network.truth import ACTING, GRID, SITES, planned_drops


def oracle(clips):
    """The planted tokens themselves as concepts: the four that act, and what is left of their heads."""
    tokens = planted.token_masks(clips)
    ids = {site: np.full((len(clips), *GRID, 2), -1, np.int32) for site in SITES}
    for number, (place, name) in enumerate(zip(np.repeat([0, 1], 2), ("right", "left", "red", "blue"), strict=True)):
        site, head = ACTING[place]
        ids[site][tokens[name], head] = number
        ids[site][..., head] = np.where(ids[site][..., head] < 0, 4 + place, ids[site][..., head])
    ids[SITES[0]][..., 0] = np.where(tokens["upper left"] | tokens["lower left"], 6, 7)
    return planted.from_tokens(clips, ids, 8)


def test_precision_recall_and_iou_by_hand():
    clips = planted.clips(1, seed=0)
    ids = np.full((1, *GRID, 1), -1, np.int32)
    ids[0, 0, 0, :4], ids[0, 0, 1] = 0, 1
    mask = np.zeros((1, *GRID), bool)
    mask[0, 0, 0, 2:] = True  # six tokens
    counts = recovery.count(planted.from_tokens(clips, {"a": ids}, 2), {"m": mask})
    np.testing.assert_array_equal(counts.size, [[4, 8]])
    assert counts.precision("m")[0, 0] == 0.5 and counts.recall("m")[0, 0] == 2 / 6 and counts.iou("m")[0, 0] == 2 / 8
    assert recovery.best(counts, "m") == (0, 0)


def test_the_planted_tokens_recover_everything_they_hold(clips):
    concepts = oracle(clips)
    counts = recovery.count(concepts, planted.token_masks(clips))
    for concept, name in enumerate(("right", "left", "red", "blue")):
        place, chosen = recovery.best(counts, name)
        assert chosen == concept and counts.iou(name)[place, chosen] == 1
        assert counts.places[place] in next(p.places for p in planted.PROPERTIES if p.name == name)
    place, _ = recovery.best(counts, "right", [ACTING[1]])
    assert counts.places[place] == ACTING[1]


def test_planned_scores_are_those_of_the_network(network, clips):
    concepts, few = oracle(clips), clips[:3]
    support = Support.of(concepts)[range(3)]
    gates = (np.random.default_rng(0).random((8, len(concepts))) > 0.4).astype(np.float32)
    measured = scores(network, few, support, gates, score="logit", dtype="float32")["logit"]
    np.testing.assert_allclose(planned_scores(few, support, gates), measured, atol=0.15)


def test_planned_importance_of_planted_tokens_is_their_planned_drop(clips):
    found = planned_importance(clips, oracle(clips), jax.random.key(0))
    drops = planned_drops(clips)
    np.testing.assert_allclose(found[:4], [drops[name] for name in ("right", "left", "red", "blue")], rtol=1e-5)
    np.testing.assert_allclose(found[4:], 0, atol=1e-5)
    assert drops["right"] > 2 * drops["red"] > 0


def test_figures_of_the_right_answer(clips):
    concepts = oracle(clips)
    counts = recovery.count(concepts, planted.token_masks(clips))
    exact = planned_importance(clips, concepts, jax.random.key(0))
    figures = trials._ranked(counts, exact, planned_drops(clips))
    assert sorted(figures[f"rank/{name}"] for name in ("right", "left", "red", "blue")) == [1, 2, 3, 4]
    assert figures["ahead/mean"] == 1
    assert figures["density/mean"] == pytest.approx(1, abs=0.05)


def test_permuted_tokens_keep_their_heads_and_numbers(clips):
    concepts = oracle(clips)
    mixed = permuted_concepts(concepts, jax.random.key(0))
    for site, ids in concepts.ids.items():
        for video in range(len(clips)):
            for head in range(2):
                one, other = ids[video, ..., head, 0].ravel(), mixed.ids[site][video, ..., head, 0].ravel()
                np.testing.assert_array_equal(np.sort(one), np.sort(other))
    assert any((mixed.ids[site] != ids).any() for site, ids in concepts.ids.items())


def test_intervals_and_claims():
    low, high = interval([1.0, 1.2, 1.1]), interval([2.0, 2.1, 2.2])
    assert low.mean == pytest.approx(1.1) and low.half_width == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert better(high, low, True) and better(low, high, False) and not better(low, low, True)
    # Overlapping intervals, but ahead in every seed by about as much.
    others = interval([1.0, 2.0, 3.0]), interval([1.21, 2.2, 3.19])
    assert not better(others[1], others[0], True) and ahead(others[1], others[0], True)
    assert not ahead(others[1], others[0], False) and ahead(others[0], others[1], False)
    assert not ahead(interval([1.0, 2.0, 3.0]), interval([2.0, 3.0, 1.0]), True)
    one = Interval(1.0, float("nan"), (1.0,))
    assert ahead(one, one, True) is None
    assert better(one, low, True) is None and above(one, 0.0) is None
    assert above(low, 0.8) and not above(low, 1.0)
