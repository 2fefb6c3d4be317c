"""Matching and agreement on cases whose right figures can be told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.planted.comparison.agreement import TOP, agreement
from vtcd_jax.planted.comparison.matching import match, matched, price
from vtcd_jax.planted.evaluation.recovery import count


def test_every_unit_serves_one_property_and_the_sum_is_largest():
    """The best pair alone would leave the second property nothing."""
    assert match(np.array([[0.9, 0.8], [0.8, 0.0]])) == {0: 1, 1: 0}
    assert match(np.array([[0.9], [0.8]])) == {0: 0}
    assert match(np.array([[0.9, 0.5], [0.0, 0.0]])) == {0: 0}


def test_a_dictionary_pays_for_more_units_than_were_planted():
    assert price(96, 40) == price(96, 96) == 1
    assert price(96, 192) == pytest.approx(0.5**0.5) and price(96, 384) == pytest.approx(0.5)


def counts(ids: np.ndarray, masks: dict[str, np.ndarray]):
    """ids: int [token, slot], of one head of a clip."""
    clips = planted.clips(1, seed=0)
    shape = (1, len(ids), 1, 1)
    concepts = planted.from_tokens(clips, {"a": ids.reshape(*shape, 1, -1)}, int(ids.max()) + 1)
    return count(concepts, {name: mask.reshape(shape) for name, mask in masks.items()})


def test_a_concept_that_fits_two_properties_counts_for_one():
    half = np.arange(8) < 4
    one = counts(np.where(half, 0, -1)[:, None], {"p": half, "q": half})
    figures = matched(one, one, planted=2)
    assert sorted((figures["matched/p"], figures["matched/q"])) == [0, 1]
    assert figures["matched/mean"] == figures["score"] == 0.5 and figures["units"] == 1


def test_nodes_of_a_tree_may_be_matched_with_nested_properties_and_all_count():
    """Leaves 0 to 3, inner nodes 4 (0 and 1) and 5 (2 and 3)."""
    leaf = np.repeat(np.arange(4), 2)
    ids = np.stack([leaf, 4 + leaf // 2], 1)
    masks = {"leaf": leaf == 1, "node": leaf < 2, "other node": leaf >= 2}
    found = counts(ids, masks)
    figures = matched(found, found, planted=3)
    assert figures["matched/mean"] == 1 and figures["units"] == 6
    assert figures["score"] == pytest.approx((3 / 6) ** 0.5)
    flat = counts(leaf[:, None], masks)
    assert matched(flat, flat, planted=3)["matched/mean"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_pairs_are_chosen_on_the_first_clips_and_judged_on_the_others():
    mask = {"p": np.array([True, True, False, False])}
    first = counts(np.array([[0], [0], [1], [1]]), mask)
    other = counts(np.array([[0], [1], [1], [1]]), mask)
    assert matched(first, other, planted=2)["matched/p"] == 0.5


def test_order_is_judged_among_the_concepts_that_act_alone():
    exact = np.array([3.0, 2.0, -1.0, 0.0, 0.0, 0.0])
    right = agreement(np.array([30.0, 20.0, -1.0, 5.0, -9.0, 1.0]), exact)
    assert right["order"] == 1 and right["top"] == 1 and 0 < right["agreement"] < 1
    wrong = agreement(np.array([-1.0, 0.0, 5.0, 9.0, 0.0, 0.0]), exact)
    assert wrong["order"] == -1 and wrong["top"] == 0


def test_the_first_ten_are_compared_with_the_ten_that_matter_most():
    exact = np.arange(30.0)
    importance = exact.copy()
    importance[-5:] = -1
    assert agreement(importance, exact)["top"] == pytest.approx((TOP - 5) / TOP)
    assert agreement(exact, np.zeros(30)) == {"agreement": 0, "order": 0, "top": 0}
