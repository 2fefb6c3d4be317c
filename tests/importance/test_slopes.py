"""Slopes at random gates reach the Banzhaf values of games, exactly so for multilinear ones; joined with masks they
keep intervals that hold the truth."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax.importance.cris import importance_from_scores
from vtcd_jax.importance.designs import Hadamard, Joined, Paired, Slopes
from vtcd_jax.importance.estimation import convergence, interim_rows, permutation_null
from vtcd_jax.importance.estimation.estimators import Estimate, count_read, estimate
from vtcd_jax.importance.estimation.join import join
from vtcd_jax.models import InputError

from .games import Walsh, slopes_of, some_terms
from .test_games import Game, check, coverage, planted, small_games

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


def test_other_estimators_and_designs_do_not_mix():
    for design, name in ((Slopes(KEY, 8), "contrast"), (Paired(KEY, 8), "slope"), (Paired(KEY, 8), "joined")):
        with pytest.raises(InputError, match=f"estimator '{name}' does not fit a design"):
            estimate(name, design, np.zeros((8, 9)), 0.0, CLIP, ALL)


# -- the join ----------------------------------------------------------------------------------------------------------
def test_the_join_by_hand():
    """Variances 1 and 3: shares 3/4 and 1/4, variance 3/4 · (1 + 4 · 3/16 · (1/6 + 1/12)), 1/nu = 9/16/6 + 1/16/12."""
    both = join(Estimate(np.array([2.0]), np.array([1.0]), 6), Estimate(np.array([6.0]), np.array([3.0]), 12.0))
    np.testing.assert_allclose(both.value, 3)
    np.testing.assert_allclose(both.variance, 0.75 * (1 + 0.75 * (1 / 6 + 1 / 12)))
    np.testing.assert_allclose(both.dof, 1 / (9 / 16 / 6 + 1 / 16 / 12))


def test_what_is_unknown_missing_or_exact_is_joined_with_care():
    nan = np.nan
    first = Estimate(np.array([1, 1, 1, nan, nan, 1, 0]), np.array([1, nan, nan, 1, nan, 0, 0]), 5, pooled=True)
    second = Estimate(np.array([3, 3, 3, 3, nan, 3, 0]), np.array([1, 1, nan, 1, nan, 2.0, 0]), 7)
    both = join(first, second)
    np.testing.assert_array_equal(both.value, [2, 3, 2, 3, nan, 1, 0])
    np.testing.assert_allclose(both.variance[[1, 3, 5, 6]], [1, 1, 0, 0])
    np.testing.assert_array_equal(np.isnan(both.variance), [False, False, True, False, True, False, False])
    assert both.pooled and np.asarray(both.dof)[1] == 7 and np.asarray(both.dof)[5] == 5


# -- errors ------------------------------------------------------------------------------------------------------------
@cache
def clip_slopes(kind: str, video: int):
    return slopes_of(planted()[1][kind][video].extension)


@pytest.mark.slow
@pytest.mark.parametrize("rows, blocks", [(16, 0), (64, 0), (16, 1), (64, 1), (16, 3)])
def test_intervals_from_slopes_and_joined_ones_hold_the_exact_values(rows, blocks):
    """Alone and beside one or three blocks of masks; for a score without slope the extension stands."""
    present, games, _ = planted()

    def measure(repeat: int, video: int) -> dict[str, Estimate]:
        there, clip = present[video], f"{repeat}-{video}"
        gates, masks = Slopes(KEY, rows), Hadamard(KEY, 10_000)
        drawn = gates.rows(clip, 0, rows, there)[:, there]
        kept = masks.rows(clip, 0, blocks * masks.block_rows(there), there)[:, there].astype(float)
        estimates = {}
        for kind in games:
            slopes = np.zeros((rows, len(there)))
            slopes[:, there] = clip_slopes(kind, video)(drawn)
            if blocks:
                y = games[kind][video].value(kept)
                estimates[kind] = estimate("joined", Joined(masks, gates), (y, slopes), 0.0, clip, there)
            else:
                estimates[kind] = estimate("slope", gates, slopes, 0.0, clip, there)
        return estimates

    check(coverage(measure))


def test_joined_estimates_are_better_than_both_parts():
    """Root mean square errors over many draws."""
    rng = np.random.default_rng(7)
    game = Walsh(rng.normal(0, 0.3, 9), ((some_terms(rng, 9, 3, 20), rng.normal(0, 0.15, 20)),))
    masks, gates, slopes = Hadamard(KEY, 32), Slopes(KEY, 40), slopes_of(game.extension)
    errors: dict[str, list[np.ndarray]] = {"contrast": [], "slope": [], "joined": []}
    for run in range(200):
        clip = f"{run}"
        y = game.value(masks.rows(clip, 0, masks.count(ALL), ALL).astype(float))
        rows = slopes(gates.rows(clip, 0, 40, ALL))
        measured = {"contrast": (masks, y), "slope": (gates, rows), "joined": (Joined(masks, gates), (y, rows))}
        for name, (design, values) in measured.items():
            errors[name].append(estimate(name, design, values, 0.0, clip, ALL).value - game.banzhaf())
    size = {name: float(np.sqrt(np.mean(np.square(values)))) for name, values in errors.items()}
    assert size["joined"] < 0.95 * min(size["contrast"], size["slope"]), size


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
