"""Importance equals the released code's on its own scores, is centred and exact where it should be, knows its error."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from vtcd_jax.ablation.design import Design, Explicit, removal_order
from vtcd_jax.importance.cris import importance_from_scores
from vtcd_jax.importance.curves import layer_importance, released_area, released_counts
from vtcd_jax.importance.designs.hadamard import Hadamard
from vtcd_jax.importance.designs.random import Bernoulli, LeaveOneOut, Paired, Random
from vtcd_jax.importance.estimation.estimators import MIN_BLOCKS, Estimate, default_estimator, estimate, from_rows
from vtcd_jax.importance.estimation.result import combine
from vtcd_jax.models import InputError

from .games import Walsh, some_terms

KEY, CLIP = jax.random.key(7), "0123" * 16
PRESENT = np.array([True] * 4 + [False] + [True] * 5 + [False] + [True] * 4)  # 13 of 15
GROUPS = np.arange(15) // 3


@pytest.fixture(scope="module")
def cris(golden):
    with np.load(golden / "vtcd" / "cris.npz") as arrays:
        return dict(arrays)


def over_clips(cris, estimator: str) -> np.ndarray:
    clips = zip(cris["performance"], cris["kept"], cris["baseline_performance"], strict=True)
    return np.mean([from_rows(estimator, y, kept, float(base)).value for y, kept, base in clips], axis=0)


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
    share = cris["head_weights"][layer, head]  # [concept, t, h, w]
    influence = (cris["concept_masks"] * share).sum((2, 3, 4)).mean(0)
    found = {name: np.corrcoef(over_clips(cris, name), influence)[0, 1] for name in ("contrast", "paper", "released")}
    assert found["contrast"] > 0.95 > found["paper"] > found["released"]


def test_a_constant_score_gives_zero_contrast_and_zero_error():
    kept = np.random.default_rng(0).integers(0, 2, (40, 6))
    found = from_rows("contrast", np.full(40, 3.5), kept, 3.5)
    np.testing.assert_allclose(found.value, 0, atol=1e-12)
    np.testing.assert_allclose(found.variance, 0, atol=1e-12)


def test_a_concept_that_was_never_removed_has_no_contrast():
    kept = np.ones((10, 2))
    kept[:5, 0] = 0
    found = from_rows("contrast", np.arange(10.0), kept, 0.0)
    assert found.value[1] == found.variance[1] == 0 and found.value[0] == 5


@pytest.mark.parametrize("estimator", ["contrast", "regression", "paper", "released"])
def test_standard_errors_cover_the_spread_of_repeated_runs(estimator):
    """The error from one run of masks is close to the standard deviation over many runs."""
    rng = np.random.default_rng(1)
    effects, runs, masks = np.array([2.0, 1.0, 0.5, 0.0, -1.0]), 400, 200

    def once():
        kept = rng.integers(0, 2, (masks, 5)).astype(float)
        y = 1 + kept @ effects + 0.7 * kept[:, 0] * kept[:, 1]
        found = from_rows(estimator, y, kept, 1 + effects.sum() + 0.7)
        return found.value, found.variance

    values, variances = (np.stack(parts) for parts in zip(*(once() for _ in range(runs)), strict=True))
    np.testing.assert_allclose(np.sqrt(variances.mean(0)), values.std(0, ddof=1), rtol=0.15)


def test_errors_over_clips_tell_masks_from_clips():
    """Noise of the masks averages out over clips; the spread of the clips stays."""
    rng = np.random.default_rng(2)
    values = 1 + rng.normal(0, 0.5, (200, 3))
    estimates = [Estimate(value, np.full(3, 0.01), 62) for value in values]
    found = combine("s", "contrast", "random", estimates, [64] * 200, np.ones((200, 3), bool), np.zeros(200))
    np.testing.assert_allclose(found.se_masks, 0.1 / np.sqrt(200))
    np.testing.assert_allclose(found.se_videos, 0.5 / np.sqrt(200), rtol=0.15)
    np.testing.assert_allclose(found.dof_masks, 200 * 62)
    alone = combine("s", "contrast", "random", estimates[:1], [64], np.ones((1, 3), bool), np.zeros(1))
    assert np.isnan(alone.se_videos).all() and np.isnan(alone.half_widths()[1]).all()
    np.testing.assert_allclose(alone.half_widths()[0], 0.19990, rtol=1e-3)  # 0.1 · Student's 0.975 at 62


def test_absent_concepts_count_zero_and_the_mean_over_those_that_have_it_stands_beside():
    values, present = np.array([[2.0, 1.0], [0.0, 3.0]]), np.array([[True, True], [False, True]])
    estimates = [Estimate(value, value, 6) for value in values]
    found = combine("s", "contrast", "random", estimates, [8, 8], present, np.zeros(2))
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
        estimate("magic", LeaveOneOut(1), np.zeros(1), 0.0, CLIP, np.ones(1, bool))


def test_degrees_of_freedom_of_several_clips_are_welchs():
    """By hand: (1 + 4)² / (1² / 3 + 4² / 10)."""
    estimates = [Estimate(np.zeros(1), np.ones(1), 3), Estimate(np.zeros(1), np.full(1, 4.0), np.full(1, 10.0))]
    found = combine("s", "contrast", "random", estimates, [8, 8], np.ones((2, 1), bool), np.zeros(2))
    np.testing.assert_allclose(found.dof_masks, 25 / (1 / 3 + 16 / 10))
    np.testing.assert_allclose(found.se_masks, np.sqrt(5) / 2)


def test_degrees_of_freedom_of_a_contrast_are_welchs():
    """Ten masks, three of which keep the concept; the textbook's two groups of unequal spread."""
    kept, y = np.zeros((10, 1)), np.array([1.0, 4, 2, 8, 9, 9, 7, 8, 6, 9])
    kept[:3] = 1
    found = from_rows("contrast", y, kept)
    expected = stats.ttest_ind(y[:3], y[3:], equal_var=False)
    statistic = expected.statistic  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(found.value / np.sqrt(found.variance), statistic)
    np.testing.assert_allclose(found.dof, expected.df)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_concept_kept_once_is_not_thought_certain():
    kept = np.zeros((20, 1))
    kept[4] = 1
    found = from_rows("contrast", np.random.default_rng(0).normal(size=20), kept)
    assert found.variance[0] > 0.5


def scores_of(game: Walsh, design: Design, present: np.ndarray = PRESENT) -> np.ndarray:
    rows = design.rows(CLIP, 0, design.count(present), present).astype(float)
    return game.value(rows[:, present])


def game_of(*orders: int) -> Walsh:
    """Main effects of 13 concepts, and interactions of these orders."""
    rng = np.random.default_rng(5)
    terms = tuple((some_terms(rng, 13, order, 20), rng.normal(size=20)) for order in orders)
    return Walsh(rng.normal(size=13), terms, constant=3.0)


@pytest.mark.parametrize(
    "estimator, design",
    [
        ("contrast", Hadamard(KEY, 40)),
        ("contrast", Hadamard(KEY, 20, folded=False)),
        ("regression", Hadamard(KEY, 20, folded=False)),
        ("contrast", Hadamard(KEY, 200, folded=False)),
        ("regression", Bernoulli(KEY, 40)),
        ("regression", Bernoulli(KEY, 80, ratio=0.3)),
        ("regression", Paired(KEY, 40)),
    ],
)
def test_additive_games_are_solved_exactly(estimator, design):
    """No concept's own effect leaks into another's."""
    game = game_of()
    found = estimate(estimator, design, scores_of(game, design), 0.0, CLIP, PRESENT)
    np.testing.assert_allclose(found.value[PRESENT], game.banzhaf(), atol=1e-12)
    np.testing.assert_allclose(found.variance, 0, atol=1e-20)
    assert (found.value[~PRESENT] == 0).all()


@pytest.mark.parametrize(
    "estimator, design",
    [("contrast", Hadamard(KEY, 40)), ("regression", Hadamard(KEY, 120)), ("regression", Paired(KEY, 60))],
)
def test_complements_cancel_interactions_of_two_and_four(estimator, design):
    game = game_of(2, 4)
    found = estimate(estimator, design, scores_of(game, design), 0.0, CLIP, PRESENT)
    np.testing.assert_allclose(found.value[PRESENT], game.banzhaf(), atol=1e-12)


def test_without_complements_interactions_of_two_leak_and_the_error_says_so():
    game, design = game_of(2), Hadamard(KEY, 20, folded=False)
    found = estimate("contrast", design, scores_of(game, design), 0.0, CLIP, PRESENT)
    error = found.value[PRESENT] - game.banzhaf()
    assert 0.3 < np.sqrt((error**2).mean() / found.variance[PRESENT].mean()) < 3


def test_least_squares_and_columns_agree_on_whole_blocks():
    """The shortcut through the block's columns is the least-squares solution."""
    design, y = Hadamard(KEY, 120, folded=False), np.random.default_rng(2).normal(size=120)
    found = estimate("regression", design, y, 0.0, CLIP, PRESENT)
    kept = design.rows(CLIP, 0, 120, PRESENT)
    np.testing.assert_allclose(found.value, from_rows("regression", y, kept).value, atol=1e-12)


@pytest.mark.parametrize("estimator", ["contrast", "regression"])
@pytest.mark.parametrize("design", [Random(KEY, 60, players="all"), Explicit(np.eye(15)), Explicit(1 - np.eye(15))])
def test_masks_of_equal_size_cannot_show_where_zero_is_and_are_refused(estimator, design):
    y = np.random.default_rng(3).normal(size=design.masks)
    with pytest.raises(InputError, match=f"estimator '{estimator}' needs masks that remove different numbers"):
        estimate(estimator, design, y, 0.0, CLIP, PRESENT)


def test_least_squares_says_that_masks_of_equal_size_leave_all_effects_open():
    kept = Random(KEY, 60, players="all").rows(CLIP, 0, 60, PRESENT)
    assert np.isnan(from_rows("regression", np.random.default_rng(3).normal(size=60), kept).value).all()


def test_two_concepts_that_go_together_have_no_effect_of_their_own():
    kept = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(float)
    kept[:, 1] = kept[:, 0]
    found = from_rows("regression", kept @ [1.0, 2, 3, 4], kept)
    assert np.isnan(found.value[:2]).all() and np.isnan(found.variance[:2]).all()
    np.testing.assert_allclose(found.value[2:], [3, 4])


def test_concepts_of_a_head_share_its_effect_with_few_masks_and_with_many():
    head_effects = np.array([1.0, -2, 0.5, 3, 0])
    for masks, estimator in ((48, "contrast"), (48, "regression"), (16, "regression")):
        design = Hadamard(KEY, masks, groups=GROUPS)
        rows = design.rows(CLIP, 0, design.count(PRESENT), PRESENT)
        y = rows[:, [0, 3, 6, 9, 12]] @ head_effects
        found = estimate(estimator, design, y, 0.0, CLIP, PRESENT)
        np.testing.assert_allclose(
            found.value, np.where(PRESENT, head_effects[GROUPS], 0), atol=1e-6, err_msg=str(masks)
        )


@pytest.mark.parametrize("design, need", [(Bernoulli(KEY, 14), 15), (Random(KEY, 14), 15), (Paired(KEY, 26), 28)])
def test_too_few_masks_for_least_squares_are_refused_with_the_number_needed(design, need):
    y = np.random.default_rng(0).normal(size=design.masks)
    words = f"estimator 'regression' needs at least {need} masks for the 13 concepts of a clip, got {design.masks}; "
    with pytest.raises(InputError, match=words):
        estimate("regression", design, y, 0.0, CLIP, PRESENT)
    enough = type(design)(KEY, need)
    found = estimate("regression", enough, np.random.default_rng(0).normal(size=need), 0.0, CLIP, PRESENT)
    assert np.isfinite(found.value).all() and (found.variance[PRESENT] > 0).all()


def test_a_clip_without_concepts_has_no_importance():
    nothing = np.zeros(15, bool)
    for design in (
        Hadamard(KEY, 64),
        Hadamard(KEY, 64, groups=GROUPS),
        Paired(KEY, 64),
        Bernoulli(KEY, 64),
        Random(KEY, 64),
    ):
        for estimator in ("contrast", "regression"):
            y = np.random.default_rng(0).normal(size=design.count(nothing))
            found = estimate(estimator, design, y, 0.0, CLIP, nothing)
            assert (found.value == 0).all() and (found.variance == 0).all()


def test_the_drop_is_the_score_that_each_concept_takes_away():
    game, design = game_of(2, 3), LeaveOneOut(15)
    everything = game.value(np.ones((1, 13)))[0]
    found = estimate("drop", design, scores_of(game, design), float(everything), CLIP, PRESENT)
    np.testing.assert_allclose(found.value[PRESENT], everything - game.value(1 - np.eye(13)))
    assert (found.variance == 0).all() and default_estimator(design) == "drop"


def test_the_drop_of_masks_that_remove_more_than_one_concept_is_refused():
    design = Paired(KEY, 8)
    with pytest.raises(InputError, match="estimator 'drop' reads masks that remove one concept alone"):
        estimate("drop", design, np.zeros(8), 0.0, CLIP, PRESENT)


def test_few_blocks_pool_their_error_over_concepts():
    """Three blocks that happen to agree on a concept do not make it certain."""
    for blocks in (1, 2, 3, 6):
        design = Hadamard(KEY, 64 * blocks)
        y = np.random.default_rng(blocks).normal(size=design.count(PRESENT))
        found = estimate("contrast", design, y, 0.0, CLIP, PRESENT)
        assert design.blocks(PRESENT) == 64 * blocks // 40 and found.pooled == (design.blocks(PRESENT) < MIN_BLOCKS)
        spread = found.variance[PRESENT]
        assert (np.ptp(spread) == 0) == found.pooled
        assert spread.min() > 0.2 * spread.mean(), "a part of the pooled error is in each"


def test_importance_reads_the_masks_that_were_run():
    """A run that was stopped early, clip by clip."""
    design, game = Hadamard(KEY, 120), game_of(2)
    scores = np.full((2, 120), np.nan)
    scores[0, :80], scores[1, :40] = scores_of(game, design)[:80], scores_of(game, design)[:40]
    present = np.stack([PRESENT, PRESENT])
    found = importance_from_scores("s", "folded-hadamard", design, scores, np.zeros(2), [CLIP, CLIP], present)
    assert found.masks.tolist() == [80, 40] and found.estimator == "contrast" and found.pooled == 2
    np.testing.assert_allclose(found.importance[PRESENT], game.banzhaf(), atol=1e-12)
    np.testing.assert_array_equal(found.order(), np.argsort(-found.importance, kind="stable"))


@pytest.mark.parametrize(
    "design, masks",
    [(Paired(KEY, 3), 2), (Hadamard(KEY, 3), 2), (Bernoulli(KEY, 2), 2), (Random(KEY, 2), 2), (Hadamard(KEY, 2), 2)],
)
@pytest.mark.parametrize("estimator", ["contrast", "paper", "released"])
def test_an_error_that_masks_are_too_few_to_show_is_not_zero(design, masks, estimator):
    """One pair, or one mask on each side, has no spread."""
    y = np.arange(masks) + 0.5
    found = estimate(estimator, design, y, 3.0, CLIP, PRESENT)
    shown = np.isfinite(found.value) & PRESENT
    error = np.sqrt(found.variance[shown])
    assert shown.any() and (np.isnan(error).all() if design.paired or estimator == "contrast" else (error > 0).any())


@pytest.mark.parametrize("estimator", ["paper", "released"])
def test_one_block_does_not_show_the_error_of_the_originals(estimator):
    """Their value has the mean score in it, which varies between blocks."""
    y = np.random.default_rng(0).normal(size=80)
    for masks, known in ((40, False), (80, True)):
        found = estimate(estimator, Hadamard(KEY, masks), y[:masks], 0.0, CLIP, PRESENT)
        assert np.isfinite(found.value[PRESENT]).all() and (np.isfinite(found.variance[PRESENT]) == known).all()


def test_a_concept_that_no_mask_removed_has_no_value():
    """Of 13 concepts, each removed by one mask in fifty; eight masks. The others have theirs."""
    design, y = Bernoulli(KEY, 8, ratio=0.02), np.random.default_rng(0).normal(size=8)
    kept = design.rows(CLIP, 0, 8, PRESENT)
    never = PRESENT & (kept.min(0) == 1)
    assert never.any()
    for estimator in ("contrast", "paper", "released"):
        found = estimate(estimator, design, y, 0.0, CLIP, PRESENT)
        assert np.isnan(found.value[never]).all() and np.isnan(found.variance[never]).all()
    absent = estimate("contrast", design, y, 0.0, CLIP, PRESENT).value[~PRESENT]
    np.testing.assert_array_equal(absent, 0)


def test_the_released_sum_of_an_absent_concept_is_not_the_largest():
    """Where it is no player, it is never removed, and Σ y M would be the sum of all scores."""
    for design in (Paired(KEY, 40), Hadamard(KEY, 40), Bernoulli(KEY, 40)):
        found = estimate("released", design, np.full(40, 2.0), 2.0, CLIP, PRESENT)
        assert np.isnan(found.value[~PRESENT]).all() and np.isfinite(found.value[PRESENT]).all()


@pytest.mark.parametrize("estimator", ["contrast", "regression", "paper"])
@pytest.mark.parametrize("design", [Bernoulli(KEY, 160), Paired(KEY, 160), Hadamard(KEY, 160), Random(KEY, 160)])
def test_rows_that_were_not_run_are_left_out_wherever_they_lie(estimator, design):
    """A hole in the middle does not shift scores against masks."""
    game, whole = game_of(), np.full(160, np.nan)
    y = scores_of(game, design)
    whole[: len(y)] = y
    whole[[17, *range(50, 61)]] = np.nan
    found = importance_from_scores(
        "s", "d", design, whole[None], np.zeros(1), [CLIP], PRESENT[None], estimator=estimator
    )
    finite = np.isfinite(whole)
    assert 0 < found.masks[0] <= finite.sum() and np.isfinite(found.importance).all()
    if estimator == "paper":
        return
    exact = estimator == "regression" or isinstance(design, Hadamard)
    limit = 1e-9 if exact else 4 * found.se_masks[PRESENT]
    np.testing.assert_array_less(np.abs(found.importance[PRESENT] - game.banzhaf()), limit)


def test_an_occlusion_that_was_not_run_has_no_value():
    design, y = LeaveOneOut(15), np.arange(13.0)
    y[4] = np.nan
    found = estimate("drop", design, y, 20.0, CLIP, PRESENT)
    missing = np.flatnonzero(PRESENT)[4]
    assert np.isnan(found.value[missing]) and np.isfinite(np.delete(found.value, missing)).all()


@pytest.mark.parametrize("copies", [2, 4])
def test_a_clip_listed_again_makes_nothing_surer(copies):
    """Equal content has equal masks: both errors are those without the copies."""
    rng = np.random.default_rng(4)
    estimates = [Estimate(rng.normal(size=3), rng.random(3), 9) for _ in range(5)]

    def errors(times: int) -> tuple[np.ndarray, ...]:
        every = [e for e in estimates for _ in range(times)]
        hashes = [f"{clip}" for clip in range(5) for _ in range(times)]
        there = np.ones((len(every), 3), bool)
        found = combine("s", "contrast", "d", every, [8] * len(every), there, np.zeros(len(every)), hashes)
        assert found.distinct == 5
        return found.importance, found.se_masks, found.dof_masks, found.se_videos, *found.half_widths()

    for once, again in zip(errors(1), errors(copies), strict=True):
        np.testing.assert_allclose(again, once)


def test_copies_of_one_clip_say_nothing_of_others():
    estimates = [Estimate(np.ones(2), np.full(2, 0.04), 9)] * 3
    found = combine("s", "c", "d", estimates, [8] * 3, np.ones((3, 2), bool), np.zeros(3), ["a"] * 3)
    np.testing.assert_allclose(found.se_masks, 0.2)
    assert np.isnan(found.se_videos).all() and np.isnan(found.half_widths()[1]).all()
