"""Importance equals the released code's on its own scores, is centred where it should be, and knows its error."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.importance.curves import layer_importance, released_area, released_counts
from vtcd_jax.importance.designs import removal_order
from vtcd_jax.importance.estimators import per_clip
from vtcd_jax.importance.ranking import combine
from vtcd_jax.models import InputError


@pytest.fixture(scope="module")
def cris(golden):
    with np.load(golden / "vtcd" / "cris.npz") as arrays:
        return dict(arrays)


def over_clips(cris, estimator: str) -> np.ndarray:
    clips = zip(cris["performance"], cris["kept"], cris["baseline_performance"], strict=True)
    return np.mean([per_clip(estimator, y, kept, float(base))[0] for y, kept, base in clips], axis=0)


@pytest.mark.parametrize(
    "estimator, name",
    [("released", "concept_importance"), ("paper", "importance_eq6"), ("contrast", "importance_contrast")],
)
def test_importance_equals_the_reference(cris, estimator, name):
    np.testing.assert_allclose(over_clips(cris, estimator), cris[name], rtol=1e-4, atol=1e-6)


def test_the_released_ranking_is_reproduced(cris):
    order = np.argsort(-over_clips(cris, "released"), kind="stable")
    np.testing.assert_array_equal(order, cris["rank_most_to_least"])


def test_the_contrast_finds_the_planted_influence_that_the_released_sum_misses(cris):
    layer, head = cris["concept_layer"], cris["concept_head"]
    weights = cris["head_weights"][layer, head]  # [concept, t, h, w]
    influence = (cris["concept_masks"] * weights).sum((2, 3, 4)).mean(0)
    found = {name: np.corrcoef(over_clips(cris, name), influence)[0, 1] for name in ("contrast", "paper", "released")}
    assert found["contrast"] > 0.95 > found["paper"] > found["released"]


def test_a_constant_score_gives_zero_contrast_and_zero_error():
    kept = np.random.default_rng(0).integers(0, 2, (40, 6))
    value, variance = per_clip("contrast", np.full(40, 3.5), kept, 3.5)
    np.testing.assert_allclose(value, 0, atol=1e-12)
    np.testing.assert_allclose(variance, 0, atol=1e-12)


def test_a_concept_that_was_never_removed_has_no_contrast():
    kept = np.ones((10, 2))
    kept[:5, 0] = 0
    value, variance = per_clip("contrast", np.arange(10.0), kept, 0.0)
    assert value[1] == variance[1] == 0 and value[0] == 5


@pytest.mark.parametrize("estimator", ["contrast", "paper", "released"])
def test_standard_errors_cover_the_spread_of_repeated_runs(estimator):
    """The error from one run of masks is close to the standard deviation over many runs."""
    rng = np.random.default_rng(1)
    weights, runs, masks = np.array([2.0, 1.0, 0.5, 0.0, -1.0]), 400, 200

    def once():
        kept = rng.integers(0, 2, (masks, 5)).astype(float)
        y = 1 + kept @ weights + 0.7 * kept[:, 0] * kept[:, 1]
        return per_clip(estimator, y, kept, 1 + weights.sum() + 0.7)

    values, variances = (np.stack(parts) for parts in zip(*(once() for _ in range(runs)), strict=True))
    np.testing.assert_allclose(np.sqrt(variances.mean(0)), values.std(0, ddof=1), rtol=0.15)


def test_errors_over_clips_tell_masks_from_clips():
    """Noise of the masks averages out over clips; the spread of the clips stays."""
    rng = np.random.default_rng(2)
    values = 1 + rng.normal(0, 0.5, (200, 3))
    found = combine(
        "s", "contrast", "random", 0.5, 64, values, np.full((200, 3), 0.01), np.ones((200, 3), bool), np.zeros(200)
    )
    np.testing.assert_allclose(found.se_masks, 0.1 / np.sqrt(200))
    np.testing.assert_allclose(found.se_videos, 0.5 / np.sqrt(200), rtol=0.15)
    alone = combine("s", "contrast", "random", 0.5, 64, values[:1], values[:1], np.ones((1, 3), bool), np.zeros(1))
    assert np.isnan(alone.se_videos).all()


def test_absent_concepts_count_zero_and_the_mean_over_those_that_have_it_stands_beside():
    values, present = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([[True, True], [False, True]])
    found = combine("s", "contrast", "random", 0.5, 8, values, values, present, np.zeros(2))
    np.testing.assert_allclose(found.importance, [1, 2])
    np.testing.assert_allclose(found.importance_present, [2, 2])
    np.testing.assert_array_equal(found.videos, [1, 2])


def test_curves_and_areas_equal_the_reference(cris):
    """Removing concepts by rank from the toy model gives the stored curves and areas."""
    counts = released_counts(60, int(cris["removed_per_step"]))
    rank = cris["rank_most_to_least"]
    for order, name, row in ((rank, "most_to_least", 0), (rank[::-1], "least_to_most", 1)):
        gates = removal_order(order, counts).gates
        curve = np.mean([[toy_score(cris, v, g) for g in gates] for v in range(3)], axis=0)
        np.testing.assert_allclose(curve, cris[f"curve_{name}"], atol=2e-3)
        np.testing.assert_allclose(released_area(cris[f"curve_{name}"]), cris["auc"][row], rtol=1e-4)


def toy_score(cris, video: int, gates: np.ndarray) -> float:
    """The README's toy model: 100 cos(1.2 - s - b), s = Σ head_weights · keep."""
    keep = np.ones(cris["head_weights"].shape)
    for concept in np.flatnonzero(gates == 0):
        keep[cris["concept_layer"][concept], cris["concept_head"][concept]] *= 1 - cris["concept_masks"][video, concept]
    return 100 * np.cos(1.2 - (cris["head_weights"] * keep).sum() - cris["video_bias"][video])


def test_layer_importance_is_the_mean_rank_share():
    shares = layer_importance(np.array([2, 0, 1, 3]), np.array([0, 0, 1, 1]))
    assert shares == {0: (3 + 2) / 2 / 4, 1: (4 + 1) / 2 / 4}


def test_an_unknown_estimator_is_named():
    with pytest.raises(InputError, match="unknown estimator 'magic'"):
        per_clip("magic", np.zeros(2), np.zeros((2, 1)), 0.0)
