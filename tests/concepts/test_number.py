"""The number of concepts: the released rule exactly, the others by their meaning."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig
from vtcd_jax.concepts.clustering.halves import strength
from vtcd_jax.concepts.clustering.number_of_concepts import choose_numbers, head_keys
from vtcd_jax.concepts.clustering.rules import (
    held_out_number,
    knee_number,
    paper_number,
    released_number,
    strength_number,
)
from vtcd_jax.models import InputError

pytestmark = pytest.mark.compile


@pytest.mark.parametrize("case", "abcd")
def test_the_released_rule_on_the_reference_objectives_is_exact(golden, case):
    reference = np.load(golden / "vtcd" / "elbow.npz")
    objective = reference[f"{case}_mean_sq_dist"]
    for threshold in (95, 90):
        found = released_number(objective, threshold / 100) or len(objective)
        assert found == reference[f"{case}_K_{threshold}"]


def test_the_rules_from_scratch_on_heads_of_different_sizes(golden):
    """All four data sets as the heads of one layer, padded in samples and features."""
    reference = np.load(golden / "vtcd" / "elbow.npz")
    X, mask = np.zeros((4, 160, 64), np.float32), np.zeros((4, 160), bool)
    for head, case in enumerate("abcd"):
        values = reference[f"{case}_X"]
        X[head, : len(values), : values.shape[1]], mask[head, : len(values)] = values, True
    numbers, labels = choose_numbers(X, mask, head_keys(jax.random.key(0), len(X)), ElbowRule())
    expected = [reference[f"{case}_K_95"] for case in "abcd"]
    assert np.abs(numbers - expected).max() <= 1
    assert [len(set(row[own].tolist())) for row, own in zip(labels, mask, strict=True)] == numbers.tolist()
    assert (labels[~mask] == -1).all()
    before, _ = choose_numbers(X, mask, head_keys(jax.random.key(0), len(X)), ElbowRule(take="before"))
    stopped = expected != np.array([14, 14, 14, 8])
    np.testing.assert_array_equal(before[stopped], numbers[stopped] - 1)
    paper, _ = choose_numbers(X, mask, head_keys(jax.random.key(0), len(X)), ElbowRule(rule="paper"))
    assert paper.tolist() == [5, 7, 3, 3]  # the numbers of clusters that were drawn


@pytest.mark.parametrize("rule", ["knee", "prediction", "held-out"])
def test_every_rule_finds_planted_clusters_and_few_in_noise(rule):
    """Two heads of four and seven clusters, spread over six clips, and one of noise alone."""
    rng = np.random.default_rng(0)
    X, mask = np.zeros((3, 168, 12), np.float32), np.ones((3, 168), bool)
    for head, count in enumerate((4, 7)):
        X[head] = 6 * np.eye(count, 12)[np.arange(168) % count] + 0.3 * rng.normal(size=(168, 12))
    X[2], mask[0, 140:] = rng.normal(size=(168, 12)), False
    clips = np.broadcast_to(np.arange(168) // 28, mask.shape)
    config = ElbowRule(rule=rule, maximum=11)
    numbers, labels = choose_numbers(X, mask, head_keys(jax.random.key(0), 3), config, restarts=5, groups=clips)
    assert numbers[:2].tolist() == [4, 7]
    assert [len(set(row[own].tolist())) for row, own in zip(labels, mask, strict=True)] == numbers.tolist()
    alone, _ = choose_numbers(
        X[1:], mask[1:], head_keys(jax.random.key(0), 3)[1:], config, restarts=5, groups=clips[1:]
    )
    assert alone.tolist() == numbers[1:].tolist()  # whatever other heads are found with it
    if rule == "prediction":
        assert numbers[2] <= 2


def test_a_fixed_number_is_limited_by_the_tubelets():
    X, mask = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32), np.ones((2, 6), bool)
    mask[1, 3:], X[1, 3:] = False, 0
    numbers, labels = choose_numbers(X, mask, head_keys(jax.random.key(0), len(X)), ElbowRule(rule="fixed", number=5))
    assert numbers.tolist() == [5, 3] and labels[1].max() == 2


@pytest.mark.parametrize("samples, expected", [(1, 1), (2, 1)])
def test_heads_with_hardly_any_tubelets_get_one_concept(samples, expected):
    X, mask = np.zeros((1, 4, 3), np.float32), np.arange(4)[None] < samples
    X[0, :samples, 0] = np.arange(samples)
    for rule in ("released", "paper", "knee", "prediction", "held-out"):
        numbers, _ = choose_numbers(X, mask, head_keys(jax.random.key(0), 1), ElbowRule(rule=rule))  # type: ignore[arg-type]
        assert numbers.tolist() == [expected]


def test_the_silhouette_rule_takes_the_smallest_number_that_is_nearly_best():
    curve = np.array([np.nan, 0.3, 0.58, 0.6, 0.5])
    assert paper_number(curve) == 3
    assert paper_number(curve, threshold=0.99) == 4
    assert paper_number(np.array([np.nan, -0.3, -0.1, -0.2])) == 3
    assert paper_number(np.array([np.nan])) == 1


def test_the_knee_is_where_the_fall_slows_down_most():
    assert knee_number(np.array([10.0, 6, 2, 1.5, 1.2, 1])) == 3
    assert knee_number(np.array([10.0, 1, 1, 1])) == 2
    assert knee_number(np.array([3.0, 3, 3])) == knee_number(np.array([3.0, 1])) == 1


def test_prediction_strength_is_that_of_the_worst_cluster():
    own = np.array([0, 0, 0, 0, 1, 1])
    assert strength(own, own) == 1
    assert strength(own, np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(1 / 3)  # 2 of 6 pairs of the first
    assert strength(own, np.array([0, 0, 0, 0, 1, 2])) == 0
    assert strength(np.array([0, 1]), np.array([0, 0])) == 1  # no pairs
    assert strength_number(np.array([1, 0.9, 0.6, 0.85, 0.2])) == 4
    assert strength_number(np.array([1, np.nan, 0.3])) == 1


def test_held_out_variance_stops_where_more_centres_explain_little_more():
    assert held_out_number(np.array([0, 0.5, 0.78, 0.8, 0.7])) == 3
    assert held_out_number(np.array([-0.1, -0.2])) == 1
    assert held_out_number(np.array([np.nan])) == 1


def test_settings_name_the_differences_between_paper_and_code():
    assert ElbowRule().level == 0.95 and ElbowRule(rule="paper").level == 0.9
    assert NmfConfig.released().max_steps == 10_000 and NmfConfig.released().tol == 0
    assert NmfConfig.paper().elbow.rule == "paper"
    for wrong in (
        lambda: ElbowRule(rule="best"),  # type: ignore[arg-type]
        lambda: ElbowRule(maximum=1),
        lambda: NmfConfig(assignment="W"),  # type: ignore[arg-type]
        lambda: NmfConfig(restarts=0),
        lambda: SlicConfig(compactness=0),
        lambda: SlicConfig(n_segments=1000),
        lambda: SlicConfig(pooling="max"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            wrong()
