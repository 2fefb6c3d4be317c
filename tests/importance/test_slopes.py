"""Slopes at random gates reach the Banzhaf values of games, exactly so for multilinear ones; joined with masks they
keep intervals that hold the truth."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vtcd_jax.importance.cris import importance_from_scores
from vtcd_jax.importance.designs import Hadamard, Joined, Paired, Slopes
from vtcd_jax.importance.estimation import Importance, combine, convergence, interim_rows, permutation_null
from vtcd_jax.importance.estimation.estimators import Estimate, count_read, estimate
from vtcd_jax.importance.estimation.join import join
from vtcd_jax.importance.estimation.result import groups_of
from vtcd_jax.models import InputError

from .games import Walsh, slopes_of, some_terms
from .test_games import Game, check, planted, shares_held, small_games

KEY, CLIP, ALL = jax.random.key(11), "5" * 64, np.ones(9, bool)


def measured(game: Game, design: Slopes, clip: str = CLIP) -> np.ndarray:
    return slopes_of(game.extension)(design.rows(clip, 0, design.masks, ALL))


def found(game: Game, design: Slopes) -> Estimate:
    return estimate("slope", design, measured(game, design), 0.0, CLIP, ALL)


# -- values ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", small_games())
def test_the_slope_at_the_centre_is_the_banzhaf_value_of_a_multilinear_game(name):
    """The expected slope at independent gates of mean 1/2 is the slope at the mean: no share has a bias."""
    game = small_games()[name]
    np.testing.assert_allclose(slopes_of(game.extension)(np.full((1, 9), 0.5))[0], game.banzhaf(), atol=1e-5)


def test_slopes_of_an_additive_game_are_exact():
    game = small_games()["additive"]
    result = found(game, Slopes(KEY, 8))
    np.testing.assert_allclose(result.value, game.banzhaf(), atol=1e-5)
    np.testing.assert_allclose(result.variance, 0, atol=1e-12)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", small_games())
def test_slopes_reach_the_exact_banzhaf_values_with_every_share(name, share):
    game = small_games()[name]
    result = found(game, Slopes(KEY, 2000, share))
    error = np.sqrt(result.variance)
    np.testing.assert_array_less(np.abs(result.value - game.banzhaf()), 4 * error + 1e-5)
    np.testing.assert_array_less(error, 0.1 * np.abs(game.banzhaf()).max())


def test_and_and_or_count_one_half_for_each_member():
    for extension in (lambda g: g[0] * g[1], lambda g: g[0] + g[1] - g[0] * g[1]):
        design = Slopes(KEY, 400)
        slopes = slopes_of(extension)(design.rows(CLIP, 0, 400, ALL))
        result = estimate("slope", design, slopes, 0.0, CLIP, ALL)
        np.testing.assert_allclose(result.value, [0.5, 0.5, *[0] * 7], atol=0.06)
        assert (result.value[2:] == 0).all()


def test_a_score_that_is_not_multilinear_biases_slopes_more_with_larger_shares():
    """A steep threshold of a sum: soft gates stay near its middle more often than masks do."""
    weights = np.array([5, -3, 2, 1, 0, 4, 1, -1, 3]) / 4

    def steep(gates: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(6 * (gates @ weights - 2.0))

    kept = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(float)
    y = np.asarray(jax.vmap(steep)(jnp.asarray(kept)))
    exact = np.array([y[column == 1].mean() - y[column == 0].mean() for column in kept.T])
    away, noise = {}, {}
    for share in (0.1, 1.0):
        design = Slopes(KEY, 4000, share)
        slopes = slopes_of(steep)(design.rows(CLIP, 0, 4000, ALL))
        result = estimate("slope", design, slopes, 0.0, CLIP, ALL)
        away[share], noise[share] = np.abs(result.value - exact), np.sqrt(result.variance)
    assert away[1.0].max() > 5 * noise[1.0].max() and away[1.0].mean() > 2 * away[0.1].mean(), (away, noise)


def test_a_concept_that_the_clip_does_not_have_counts_zero():
    there, design = np.arange(9) != 4, Slopes(KEY, 40)
    slopes = slopes_of(small_games()["sigmoid"].extension)(design.rows(CLIP, 0, 40, there))
    slopes[:, 4] = 0
    result = estimate("slope", design, slopes, 0.0, CLIP, there)
    assert result.value[4] == result.variance[4] == 0 and np.isfinite(result.value).all()


def test_rows_that_were_not_run_are_left_out_in_pairs():
    game, design = small_games()["pairwise"], Slopes(KEY, 64)
    slopes = measured(game, design)
    slopes[41:] = np.nan
    result, short = (
        estimate("slope", d, s, 0.0, CLIP, ALL) for d, s in ((design, slopes), (Slopes(KEY, 40), slopes[:40]))
    )
    np.testing.assert_array_equal(result.value, short.value)
    np.testing.assert_array_equal(result.variance, short.variance)
    assert count_read(design, slopes, ALL) == 40


def test_without_any_slope_nothing_is_known():
    result = estimate("slope", Slopes(KEY, 8), np.full((8, 9), np.nan), 0.0, CLIP, ALL)
    assert np.isnan(result.value).all() and np.isnan(result.variance).all()


def test_one_draw_has_values_and_no_error_for_these_clips():
    """With several clips the error for new ones is known."""
    game, design = small_games()["additive"], Slopes(KEY, 4)
    hashes, there = [f"{v}" * 64 for v in range(3)], np.ones((3, 9), bool)
    values = [measured(game, design, clip) for clip in hashes]
    result = importance_from_scores("s", "slopes", design, values, np.zeros(3), hashes, there)
    np.testing.assert_allclose(result.importance, game.banzhaf(), atol=1e-5)
    these, new = result.half_widths()
    assert np.isnan(these).all() and np.isfinite(new).all()


def test_other_estimators_and_designs_do_not_mix():
    for design, name in ((Slopes(KEY, 8), "contrast"), (Paired(KEY, 8), "slope"), (Paired(KEY, 8), "joined")):
        with pytest.raises(InputError, match=f"estimator '{name}' does not fit a design"):
            estimate(name, design, np.zeros((8, 9)), 0.0, CLIP, ALL)


# -- the join ----------------------------------------------------------------------------------------------------------
def estimates(rng, truth, error, clips=3, scale=1.0, bias=0.0) -> list[Estimate]:
    """Of several clips, with normal noise: the truth and the bias, divided by the scale."""
    shift, variance = (truth + bias) / scale, np.full(len(truth), error**2)
    return [Estimate(shift + error * rng.normal(size=len(truth)), variance, 30.0) for _ in range(clips)]


def joined(first, second, hashes="abc") -> Importance:
    hashes, clips = list(hashes[: len(first)]), len(first)
    found, shared = join(first, second, groups_of(hashes))
    there = np.ones((clips, len(first[0].value)), bool)
    return combine("s", "joined", "joined", found, [0] * clips, there, np.zeros(clips), hashes, shared)


def test_without_a_bias_means_are_weighted_by_their_variances():
    """Errors 0.01 and 0.02 of a clip: shares 4/5 and 1/5."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    first, second = estimates(rng, truth, 0.01), estimates(rng, truth, 0.02)
    found, _ = join(first, second, np.arange(3))
    expected = 0.8 * first[1].value + 0.2 * second[1].value
    np.testing.assert_allclose(found[1].value, expected, atol=6e-3)
    np.testing.assert_allclose(joined(first, second).se_masks, 0.01 * (0.8 / 3) ** 0.5, rtol=0.1)


def test_masks_calibrate_slopes_that_are_all_too_steep():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=60)
    first, second = estimates(rng, truth, 0.3), estimates(rng, truth, 0.02, scale=0.8)
    result = joined(first, second)
    error = np.abs(result.importance - truth)
    assert error.mean() < 0.3 * np.abs(np.mean([e.value for e in first], 0) - truth).mean()
    assert (error <= result.half_widths()[0]).mean() >= 0.9


def test_a_bias_that_differs_between_concepts_leaves_slopes_little_weight_and_wide_intervals():
    rng = np.random.default_rng(2)
    truth, bias = rng.normal(size=80), rng.normal(0, 0.5, 80)
    first, second = estimates(rng, truth, 0.2), estimates(rng, truth, 0.001, bias=bias)
    result = joined(first, second)
    assert (np.abs(result.importance - truth) <= result.half_widths()[0]).mean() >= 0.9
    assert np.abs(result.importance - truth).mean() < 0.35 * np.abs(bias).mean()
    shared = join(first, second, np.arange(3))[1]
    assert (shared.variance > 0).all() and (result.se_videos**2 >= shared.variance).all()


@pytest.mark.slow
@pytest.mark.parametrize("scale, spread, grows, least", [
    (1.0, 0.0, True, 0.93), (0.8, 0.0, True, 0.93), (1.2, 0.1, True, 0.93), (0.9, 0.3, True, 0.92),
    (1.2, 0.1, False, 0.88), (0.9, 0.3, False, 0.88),
])  # fmt: skip
@pytest.mark.parametrize("concepts, error", [(10, 0.1), (40, 0.3), (40, 0.03)])
def test_joined_intervals_hold_the_truth_under_a_bias_that_grows_with_importance(
    scale, spread, grows, least, concepts, error
):
    """As on networks. Under one that is as large for unimportant concepts they are a little too narrow."""
    rng, held = np.random.default_rng(3), []
    for _ in range(300):
        truth = rng.gamma(0.5, size=concepts)  # a few are large
        bias = spread * rng.normal(size=concepts) * (np.sqrt(truth / 0.5) if grows else 1.0)
        result = joined(estimates(rng, truth, error), estimates(rng, truth, 0.08, scale=scale, bias=bias))
        held.append(np.abs(result.importance - truth) <= result.half_widths()[0])
    assert np.mean(held) >= least, np.mean(held)


def test_copies_of_a_clip_are_one_draw():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=30)
    first, second = estimates(rng, truth, 0.1, clips=1), estimates(rng, truth, 0.1, clips=1)
    once, twice = joined(first, second), joined(first * 2, second * 2, "aa")
    np.testing.assert_allclose(once.importance, twice.importance)
    np.testing.assert_allclose(once.se_masks, twice.se_masks)


def test_what_is_unknown_missing_or_exact_is_joined_with_care():
    """The last concepts show the bias; before them: unknown, missing, exact, absent."""
    nan, rest = np.nan, np.linspace(1, 2, 8)
    first = Estimate(np.r_[1, 1, nan, nan, 1, 0, rest], np.r_[nan, 1, 1, nan, 0, 0, np.full(8, 0.1)], 5, pooled=True)
    second = Estimate(np.r_[3, nan, 3, nan, 3, 0, rest], np.r_[1, nan, 1, nan, 2.0, 0, np.full(8, 0.1)], 7)
    found, shared = join([first], [second], np.zeros(1, int))
    np.testing.assert_allclose(found[0].value[:6], [3, 1, 3, nan, 1, 0], rtol=0.05)
    np.testing.assert_allclose(found[0].variance[:6], [1, 1, 1, nan, 0, 0], rtol=0.1)
    assert found[0].pooled and np.isfinite(shared.variance[[1, 4, 5]]).all()
    few = [Estimate(e.value[6:8], e.variance[6:8], 5) for e in (first, second)]
    alone, none = join([few[0]], [few[1]], np.zeros(1, int))
    np.testing.assert_array_equal(alone[0].value, few[0].value)  # two concepts do not show a bias
    assert (none.variance == 0).all()


# -- errors ------------------------------------------------------------------------------------------------------------
@cache
def clip_slopes(kind: str, video: int):
    return slopes_of(planted()[1][kind][video].extension)


@pytest.mark.slow
@pytest.mark.parametrize("rows, blocks", [(16, 0), (64, 0), (16, 1), (64, 1), (16, 3)])
def test_intervals_from_slopes_and_joined_ones_hold_the_exact_values(rows, blocks):
    """Alone and beside one or three blocks of masks; for a score without slope the extension stands."""
    present, games, _ = planted()

    gates, masks = Slopes(KEY, rows), Hadamard(KEY, 10_000)
    design, name = (Joined(masks, gates), "joined") if blocks else (gates, "slope")

    def measure(repeat: int) -> dict[str, Importance]:
        hashes, values = [f"{repeat}-{video}" for video in range(len(present))], {kind: [] for kind in games}
        for video, (clip, there) in enumerate(zip(hashes, present, strict=True)):
            drawn = gates.rows(clip, 0, rows, there)[:, there]
            kept = masks.rows(clip, 0, blocks * masks.block_rows(there), there)[:, there].astype(float)
            for kind in games:
                slopes = np.zeros((rows, len(there)))
                slopes[:, there] = clip_slopes(kind, video)(drawn)
                values[kind].append((games[kind][video].value(kept), slopes) if blocks else slopes)
        nothing = np.zeros(len(present))
        return {
            kind: importance_from_scores("s", "d", design, own, nothing, hashes, present)
            for kind, own in values.items()
        }

    check(shares_held(measure))


def test_joined_estimates_are_far_better_than_masks_alone():
    """Root mean square errors over many draws. Slopes have no bias here, which the join cannot know."""
    rng, there = np.random.default_rng(7), np.ones((1, 9), bool)
    game = Walsh(rng.normal(0, 0.3, 9), ((some_terms(rng, 9, 3, 20), rng.normal(0, 0.15, 20)),))
    masks, gates, slopes = Hadamard(KEY, 96), Slopes(KEY, 120), slopes_of(game.extension)
    errors: dict[str, list[np.ndarray]] = {"contrast": [], "slope": [], "joined": []}
    for run in range(200):
        clip = f"{run}"
        y = game.value(masks.rows(clip, 0, masks.count(ALL), ALL).astype(float))
        rows = slopes(gates.rows(clip, 0, 120, ALL))
        measured = {"contrast": (masks, y), "slope": (gates, rows), "joined": (Joined(masks, gates), (y, rows))}
        for name, (design, values) in measured.items():
            found = importance_from_scores("s", "d", design, [values], np.zeros(1), [clip], there)
            errors[name].append(found.importance - game.banzhaf())
    size = {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in errors.items()}
    assert size["joined"] < 0.7 * size["contrast"], size


def test_with_fewer_passes_than_a_block_joined_estimates_order_many_concepts():
    """300 concepts, passes that cost as much as 256 masks: less than half a block. Slopes are fair here."""
    rng, there = np.random.default_rng(0), np.ones((1, 300), bool)
    signs = np.where(rng.random(300) < 0.75, 0.5, -0.5)
    terms = tuple((some_terms(rng, 300, order, 300), rng.normal(0, 0.02, 300)) for order in (2, 3))
    game = Walsh(0.1 * rng.gamma(0.3, size=300) * signs, terms)
    slopes, found = slopes_of(game.extension), {"contrast": [], "joined": []}
    designs = {"contrast": Hadamard(KEY, 256), "joined": Joined(Hadamard(KEY, 136), Slopes(KEY, 40))}
    for name, design in designs.items():
        for run in range(8):
            masks = design.masks if isinstance(design, Joined) else design
            values = game.value(masks.rows(f"{run}", 0, masks.count(there[0]), there[0]).astype(float))
            if isinstance(design, Joined):
                values = (values, slopes(design.slopes.rows(f"{run}", 0, 40, there[0])))
            result = importance_from_scores("s", name, design, [values], np.zeros(1), [f"{run}"], there)
            held = np.abs(result.importance - game.banzhaf()) <= result.half_widths()[0]
            found[name].append((stats.spearmanr(result.importance, game.banzhaf())[0], held.mean()))
    order = {name: float(np.mean(values, axis=0)[0]) for name, values in found.items()}
    assert order["joined"] > order["contrast"] + 0.3, order
    assert np.mean(found["joined"], axis=0)[1] >= 0.93


# -- convergence, null, analyses ---------------------------------------------------------------------------------------
CLIPS, CONCEPTS = 3, 12
HASHES = [f"{video:02d}" * 32 for video in range(CLIPS)]
PRESENT = np.random.default_rng(0).random((CLIPS, CONCEPTS)) < 0.85
EFFECTS = np.where(np.arange(CONCEPTS) == 3, 0.5, 0.0)
RNG = np.random.default_rng(1)
NOISY = Walsh(EFFECTS / 2, ((some_terms(RNG, CONCEPTS, 3, 40), RNG.normal(0, 0.08, 40)),))
RICH = Walsh(RNG.normal(0, 0.3, CONCEPTS), NOISY.terms)
SLOPES, MASKS = Slopes(KEY, 96), Hadamard(jax.random.key(3), 200)


def values_of(game: Walsh, hashes=HASHES) -> dict[str, list]:
    """estimator -> values of every clip. Interactions with a concept that a clip does not have are 0 in it."""
    masks, slopes, compiled = [], [], slopes_of(game.extension)
    for clip, there in zip(hashes, PRESENT, strict=True):
        kept = MASKS.rows(clip, 0, MASKS.count(there), there)
        masks.append(game.value(np.where(there, kept, 0.5)))
        slopes.append(np.where(there, compiled(np.where(there, SLOPES.rows(clip, 0, 96, there), 0.5)), 0.0))
    return {"contrast": masks, "slope": slopes, "joined": list(zip(masks, slopes, strict=True))}


DESIGNS = {"slope": SLOPES, "joined": Joined(MASKS, SLOPES)}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_null_finds_what_is_there_and_nothing_else(name):
    null = permutation_null(name, DESIGNS[name], values_of(NOISY)[name], HASHES, PRESENT, key=0, draws=199)
    assert null.p[3] <= 0.02 and (np.delete(null.p, 3) > 0.05).all() and (null.spread > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_the_null_errs_as_rarely_as_it_says(name):
    """No concept has an effect: the smallest p is at most 0.1 in about a tenth of the draws."""
    game, wrong = Walsh(0 * EFFECTS, NOISY.terms), 0
    for run in range(120):
        hashes = [f"{run}-{video}" for video in range(CLIPS)]
        null = permutation_null(name, DESIGNS[name], values_of(game, hashes)[name], hashes, PRESENT, key=run, draws=79)
        wrong += null.p.min() <= 0.1
    assert wrong / 120 <= 0.19, wrong / 120  # 0.1 and three standard errors


@pytest.mark.parametrize("name", DESIGNS)
def test_rankings_by_slopes_grow_alike(name):
    curve = convergence(name, DESIGNS[name], values_of(RICH)[name], np.zeros(CLIPS), HASHES, PRESENT)
    assert len(curve.masks) > 1 and (np.diff(curve.masks) > 0).all()
    assert curve.correlation[-1] > 0.8 and (curve.low < curve.correlation).all()


def test_a_single_block_has_no_halves_and_no_curve():
    """As for masks alone."""
    both = Joined(Hadamard(jax.random.key(3), 40), SLOPES)
    values = [(masks[: both.masks.count(there)], slopes) for (masks, slopes), there in
              zip(values_of(RICH)["joined"], PRESENT, strict=True)]  # fmt: skip
    assert len(convergence("joined", both, values, np.zeros(CLIPS), HASHES, PRESENT).masks) == 0


def test_a_ranking_counts_the_passes_of_both_parts():
    values = values_of(RICH)["joined"]
    result = importance_from_scores("s", "joined", DESIGNS["joined"], values, np.zeros(CLIPS), HASHES, PRESENT)
    assert result.estimator == "joined"
    np.testing.assert_array_equal(result.masks, [MASKS.count(there) + 96 for there in PRESENT])
    error = np.abs(result.importance - (RICH.banzhaf() * PRESENT).mean(0))
    np.testing.assert_array_less(error, 5 * result.se_masks)


def test_analyses_double_both_parts_and_a_part_that_is_done_waits():
    everywhere = np.ones((2, 12), bool)
    assert [rows.tolist() for rows in interim_rows(SLOPES, everywhere)] == [[32, 32], [64, 64], [96, 96]]
    both = list(interim_rows(Joined(Hadamard(KEY, 90), SLOPES), everywhere))
    assert [(int(masks[0]), int(slopes[0])) for masks, slopes in both] == [(40, 32), (80, 64), (80, 96)]
