"""A run stops when its top is separated or masks are no longer the noise, reports which, and may be analysed often."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from vtcd_jax.importance.designs.hadamard import Hadamard
from vtcd_jax.importance.designs.random import Bernoulli, LeaveOneOut, Paired
from vtcd_jax.importance.estimation.estimators import Estimate, estimate, regression_masks
from vtcd_jax.importance.estimation.result import Importance, combine
from vtcd_jax.importance.estimation.stopping import (
    holm_open,
    interim_analysis,
    interim_rows,
    noise_fraction,
    stability,
    undecided_pairs,
)

KEY = jax.random.key(0)


def importance(values: np.ndarray, error: float, dof: float = 100) -> Importance:
    """values: [video, concept].  error: of each clip's values over masks."""
    estimates = [Estimate(row, np.full(len(row), error**2), dof) for row in np.asarray(values, float)]
    there = np.ones(np.shape(values), bool)
    return combine("s", "contrast", "paired", estimates, [64] * len(values), there, np.zeros(len(values)))


def same_clips(values: list[float], clips: int = 4) -> np.ndarray:
    return np.tile(np.array(values, float), (clips, 1))


def test_holms_procedure_by_hand():
    """0.005 <= 0.05 / 4, 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2: this one and all larger ones stay open."""
    np.testing.assert_array_equal(holm_open(np.array([0.01, 0.04, 0.03, 0.005]), 0.05), [2, 1])
    np.testing.assert_array_equal(holm_open(np.array([0.01, 0.04, 0.02, 0.005]), 0.05), [])
    np.testing.assert_array_equal(holm_open(np.array([0.02, 0.02, 0.02, 0.02]), 0.05), [0, 1, 2, 3])
    assert len(holm_open(np.zeros(0), 0.05)) == 0


def test_pairs_around_the_top_by_hand():
    """Top two 5 and 3 against 2.9 and 0, errors 0.1: only 3 against 2.9 is open (0.1 / 0.14 standard errors)."""
    found = importance(same_clips([3, 0, 5, 2.9]), error=0.2)
    np.testing.assert_allclose(found.se_masks, 0.1)
    assert undecided_pairs(found, 2, 0.05) == 1
    p = 2 * stats.t.sf(0.1 / (0.1 * np.sqrt(2)), found.dof_masks[0])
    assert undecided_pairs(found, 2, p * 1.001) == 0 and undecided_pairs(found, 2, p * 0.999) == 1


def test_a_clear_top_stops_the_run():
    seen = interim_analysis(importance(same_clips([9, 8, 7, 1, 0, 0.5]), error=0.5), 1, top=3)
    assert seen.reason == "the top 3 are separated from the rest" and seen.undecided == 0
    assert seen.line().startswith("interim analysis 1: 256 passes, 0 pairs around the top 3 undecided, noise ")
    assert seen.line().endswith(": the top 3 are separated from the rest") and "\n" not in seen.line()


def test_without_a_clear_top_the_run_continues():
    seen = interim_analysis(importance(same_clips([3, 2.9, 2.8, 2.7, 2.6, 0]), error=2.0), 1, top=3)
    assert seen.reason == "" and seen.undecided == 9 and seen.line().endswith("continues")


def test_clips_that_differ_much_more_than_the_masks_stop_the_run():
    rng = np.random.default_rng(0)
    values = 1 + rng.normal(0, 1, (12, 8))
    quiet, loud = (
        interim_analysis(importance(values, error=0.3), 2, top=3),
        interim_analysis(importance(values, error=0.8), 2, top=3),
    )
    assert "the noise of the masks is" in quiet.reason and "at most 0.25" in quiet.reason and quiet.noise < 0.25
    assert loud.reason == "" and loud.noise > 0.25


def test_the_share_of_noise_is_that_of_the_masks_in_a_clips_value():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 2, 500) + rng.normal(0, 1, (400, 500))  # noise of the masks 1; clips are all alike beside it
    assert noise_fraction(importance(values, error=1.0)) > 10
    values = rng.normal(0, 2, (400, 500)) + rng.normal(0, 1, (400, 500))
    np.testing.assert_allclose(noise_fraction(importance(values, error=1.0)), 1 / 4, rtol=0.05)


def test_one_clip_says_nothing_of_others():
    seen = interim_analysis(importance(np.array([[1, 1.1, 0.9]]), error=1e-3 * 100), 1, top=1)
    assert np.isnan(seen.noise) and seen.reason == ""


def test_a_later_analysis_asks_for_more():
    """Levels 0.05 / 2, / 6, / 12, ...: their sum over all analyses is 0.05."""
    found = importance(same_clips([1, 0]), error=0.5)
    undecided = [interim_analysis(found, number, top=1).undecided for number in (1, 2, 3, 4)]
    assert undecided == [0, 0, 1, 1]
    np.testing.assert_allclose(sum(0.05 / (n * (n + 1)) for n in range(1, 10_000)), 0.05, rtol=1e-3)


def test_analysing_often_does_not_find_a_top_that_is_not_there():
    """Two concepts share ranks two and three; over six analyses at most one run in twenty calls either the top two."""
    rng, wrong = np.random.default_rng(3), 0
    truth, clips = np.array([9.0, 2, 2, -9, -9]), 4
    for _ in range(200):
        total, seen = np.zeros((clips, 5)), 0
        for number in range(1, 7):
            new = max(1, seen)  # blocks of masks: 1, 1, 2, 4, ...
            total += rng.normal(truth * new, np.sqrt(new), (clips, 5))
            seen += new
            variance = rng.chisquare(20, (clips, 5)) / 20 / seen
            estimates = [Estimate(t / seen, v, 20.0) for t, v in zip(total, variance, strict=True)]
            found = combine("s", "e", "d", estimates, [seen] * clips, np.ones((clips, 5), bool), np.zeros(clips))
            if undecided_pairs(found, 2, 0.05 / (number * (number + 1))) == 0:
                wrong += 1
                break
    assert wrong / 200 <= 0.05


def test_exact_values_are_told_apart_by_their_order_alone():
    """Occlusion has no noise; equal values are not told apart."""
    assert undecided_pairs(importance(same_clips([1, 3, 2]), error=0.0), 1, 0.05) == 0
    assert undecided_pairs(importance(same_clips([3, 3, 2]), error=0.0), 1, 0.05) == 1


def test_unknown_errors_tell_nothing_apart():
    """One pair of masks in one clip: the noise is not known, so the run goes on."""
    found = importance(same_clips([9, 5, 1]), error=float("nan"))
    seen = interim_analysis(found, 1, top=1)
    assert seen.undecided == 2 and seen.reason == "" and np.isnan([seen.noise, seen.stability]).all()


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 3.0])
def test_stability_predicts_the_correlation_of_two_repetitions(spread):
    """Of 60 concepts, whose importance spreads this much, with noise 1; 0 where all is noise."""
    rng, predicted, real = np.random.default_rng(4), [], []
    for _ in range(30):
        truth = rng.normal(0, spread, 60)
        first, second = truth + rng.normal(size=(2, 60))
        predicted.append(stability(importance(first[None], error=1.0), rng))
        real.append(stats.spearmanr(first, second)[0])
    mean, low, high = np.mean(predicted, axis=0)
    np.testing.assert_allclose(mean, np.mean(real), atol=0.1)
    assert low < mean < high <= 1


def test_an_importance_without_any_difference_has_no_stable_ranking():
    assert stability(importance(np.zeros((2, 4)), error=0.0), np.random.default_rng(0)) == (0, 0, 0)


def test_analyses_double_in_whole_blocks_and_the_last_has_all_rows():
    present = np.ones((3, 20), bool)
    present[1, 8:] = present[2, 3:] = False
    design = Hadamard(KEY, 500)
    blocks = np.array([design.block_rows(row) for row in present])
    rows = list(interim_rows(design, present))
    assert blocks.tolist() == [56, 32, 16]
    np.testing.assert_array_equal(rows[0], blocks)
    for before, after in zip(rows[:-2], rows[1:-1], strict=True):
        np.testing.assert_array_equal(after, np.minimum(2 * before, [design.count(row) for row in present]))
    assert all((r % blocks == 0).all() for r in rows)
    np.testing.assert_array_equal(rows[-1], [design.count(row) for row in present])
    assert (np.diff(rows, axis=0) >= 0).all() and (np.diff(rows, axis=0) > 0).any(1).all(), "each analysis has more"


def test_analyses_of_designs_without_blocks_begin_with_128_masks():
    assert [r.tolist() for r in interim_rows(Bernoulli(KEY, 1000), np.ones((2, 9), bool))] == [
        [128, 128], [256, 256], [512, 512], [1000, 1000],
    ]  # fmt: skip
    assert [r.tolist() for r in interim_rows(Paired(KEY, 101), np.ones((1, 9), bool))] == [[100]]
    few = Hadamard(KEY, 300)  # a block of 200 concepts has 416 masks
    assert [r.tolist() for r in interim_rows(few, np.ones((1, 200), bool))] == [[300]]


def test_the_first_analysis_has_masks_enough_for_least_squares():
    present = np.ones((1, 80), bool)
    for design in (Bernoulli(KEY, 2000), Paired(KEY, 2000)):
        first = int(next(interim_rows(design, present))[0])
        assert first >= regression_masks(80, design.paired) and first % 2 == 0
        y = np.random.default_rng(0).normal(size=first)
        assert np.isfinite(estimate("regression", design, y, 0.0, "ab" * 32, present[0]).value).all()


def test_occlusion_is_read_whole():
    present = np.ones((1, 300), bool)
    assert [r.tolist() for r in interim_rows(LeaveOneOut(300), present)] == [[300]]
