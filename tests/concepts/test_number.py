"""The number of concepts: the released rule exactly, the others by their meaning."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig
from vtcd_jax.concepts.clustering.number_of_concepts import choose_numbers, head_keys, paper_number, released_number
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


def test_a_fixed_number_is_limited_by_the_tubelets():
    X, mask = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32), np.ones((2, 6), bool)
    mask[1, 3:], X[1, 3:] = False, 0
    numbers, labels = choose_numbers(X, mask, head_keys(jax.random.key(0), len(X)), ElbowRule(rule="fixed", number=5))
    assert numbers.tolist() == [5, 3] and labels[1].max() == 2


@pytest.mark.parametrize("samples, expected", [(1, 1), (2, 1)])
def test_heads_with_hardly_any_tubelets_get_one_concept(samples, expected):
    X, mask = np.zeros((1, 4, 3), np.float32), np.arange(4)[None] < samples
    X[0, :samples, 0] = np.arange(samples)
    for rule in ("released", "paper"):
        numbers, _ = choose_numbers(X, mask, head_keys(jax.random.key(0), 1), ElbowRule(rule=rule))  # type: ignore[arg-type]
        assert numbers.tolist() == [expected]


def test_the_silhouette_rule_takes_the_smallest_number_that_is_nearly_best():
    curve = np.array([np.nan, 0.3, 0.58, 0.6, 0.5])
    assert paper_number(curve) == 3
    assert paper_number(curve, threshold=0.99) == 4
    assert paper_number(np.array([np.nan, -0.3, -0.1, -0.2])) == 3
    assert paper_number(np.array([np.nan])) == 1


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
