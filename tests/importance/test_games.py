"""On games whose Banzhaf values are known, estimates reach them, and 95 % intervals hold them at least 93 times in 100.

Small games are enumerated; those of the intervals have about two dozen concepts in each of several clips, and scores as
networks have them: smooth ones that saturate, 0/1 ones, and interactions of two to five concepts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import jax
import numpy as np
import pytest

from vtcd_jax.ablation.design import Design
from vtcd_jax.importance.designs.hadamard import Hadamard
from vtcd_jax.importance.designs.random import Bernoulli, Paired, Random
from vtcd_jax.importance.estimation.estimators import Estimate, estimate, from_rows
from vtcd_jax.importance.estimation.result import Importance, combine

from .games import OfSum, Walsh, above, by_enumeration, sigmoid, some_terms, subsets

KEY, CLIP, ALL = jax.random.key(11), "5" * 64, np.ones(9, bool)
Game = Walsh | OfSum


def small_games() -> dict[str, Game]:
    """Of nine concepts."""
    rng, effects = np.random.default_rng(1), np.array([5, -3, 2, 1, 0, 4, 1, -1, 3])
    pairs = some_terms(rng, 9, 2, 12)
    return {
        "additive": Walsh(rng.normal(size=9), constant=2.0),
        "pairwise": Walsh(rng.normal(size=9), ((pairs, rng.normal(size=12)),)),
        "sigmoid": OfSum(effects, sigmoid(7, 1.5)),
        "0/1": OfSum(effects, above(6)),
    }


DESIGNS: dict[str, Design] = {
    "bernoulli": Bernoulli(KEY, 4096),
    "paired": Paired(KEY, 4096),
    "hadamard": Hadamard(KEY, 4096, folded=False),
    "folded-hadamard": Hadamard(KEY, 4096),
    "random": Random(KEY, 4096),
}


@cache
def rows_of(design: str) -> np.ndarray:
    return DESIGNS[design].rows(CLIP, 0, 4096, ALL).astype(float)


@pytest.mark.parametrize("name", small_games())
def test_the_games_banzhaf_values_are_those_of_all_subsets(name):
    game = small_games()[name]
    np.testing.assert_allclose(game.banzhaf(), by_enumeration(game.value, subsets(9)), atol=1e-12)


@pytest.mark.parametrize("estimator", ["contrast", "regression"])
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("name", small_games())
def test_estimates_reach_the_exact_banzhaf_values(name, design, estimator):
    """Within what their own error allows, and that is small."""
    game = small_games()[name]
    y = game.value(rows_of(design))
    found = estimate(estimator, DESIGNS[design], y, 0.0, CLIP, ALL)
    error = np.sqrt(found.variance)
    np.testing.assert_array_less(np.abs(found.value - game.banzhaf()), 4 * error + 1e-9)
    np.testing.assert_array_less(error, 0.05 * y.std())


def test_masks_of_equal_size_measure_from_the_mean_effect():
    """Why ``random`` draws how many go: keeping a concept pushes out another."""
    game, every = small_games()["additive"], subsets(9)
    limit = by_enumeration(game.value, every[every.sum(1) == 5])
    np.testing.assert_allclose(limit, 9 / 8 * (game.banzhaf() - game.banzhaf().mean()), atol=1e-12)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("estimator", ["contrast", "regression"])
def test_concepts_of_different_clips_stand_in_the_right_order(design, estimator):
    """One clip has a concept of effect 1.5 beside weak ones, another one of 2 beside strong ones."""
    present = np.array([[1, 0, 1, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1, 1, 1, 1]], bool)
    effects = np.array([1.5, 2, 0, 0.1, 0.1, 3, 3, 3, 3.0])
    estimates = []
    for video, there in enumerate(present):
        y = DESIGNS[design].rows(f"{video}", 0, DESIGNS[design].count(there), there) @ effects
        estimates.append(estimate(estimator, DESIGNS[design], y, 0.0, f"{video}", there))
    found = combine("s", "e", "d", estimates, [1, 1], present, np.zeros(2))
    error = np.abs(found.importance - (effects * present).mean(0))
    np.testing.assert_array_less(error, 4 * found.se_masks + 1e-9)
    assert found.importance[1] > found.importance[0] > found.importance[3]


ORIGINAL_UNITS = {
    "random": (lambda run: Random(jax.random.key(run), 60, players="all"), False),
    "bernoulli": (lambda run: Bernoulli(jax.random.key(run), 60), False),
    "paired": (lambda run: Paired(jax.random.key(run), 60), True),
    "four blocks": (lambda run: Hadamard(jax.random.key(run), 128), True),
    "hadamard": (lambda run: Hadamard(jax.random.key(run), 80, folded=False), True),
}


@pytest.mark.parametrize("estimator", ["paper", "released"])
@pytest.mark.parametrize("name", ORIGINAL_UNITS)
def test_errors_of_the_originals_are_those_of_what_was_drawn(name, estimator):
    """Masks, pairs or blocks: standard error over true standard deviation, on a game with interactions."""
    rng = np.random.default_rng(7)
    game = Walsh(
        rng.normal(0, 0.3, 9), tuple((some_terms(rng, 9, order, 20), rng.normal(0, 0.2, 20)) for order in (2, 3)), 5.0
    )
    values, variances = [], []
    for run in range(400):
        design = ORIGINAL_UNITS[name][0](run)
        y = game.value(design.rows(CLIP, 0, design.count(ALL), ALL).astype(float))
        found = estimate(estimator, design, y, 7.0, CLIP, ALL)
        values.append(found.value)
        variances.append(found.variance)
    true = np.sqrt(np.var(values, axis=0, ddof=1).mean())
    assert 0.9 <= np.sqrt(np.mean(variances)) / true <= 1.1, np.sqrt(np.mean(variances)) / true


def sigmoid_game(rng: np.random.Generator, concepts: int) -> Game:
    effects = rng.integers(-6, 13, concepts)
    return OfSum(effects, sigmoid(effects.sum() / 2 + 2, np.sqrt((effects**2).sum()) / 4))


def hard_game(rng: np.random.Generator, concepts: int) -> Game:
    effects = rng.integers(-6, 13, concepts)
    return OfSum(effects, above(effects.sum() / 2 + 3))


def interactions(rng: np.random.Generator, concepts: int) -> Game:
    sizes = ((2, 40, 0.1), (3, 60, 0.03), (5, 60, 0.02))
    terms = tuple((some_terms(rng, concepts, order, count), rng.normal(0, s, count)) for order, count, s in sizes)
    return Walsh(rng.normal(0, 0.1, concepts), terms)


KINDS: dict[str, Callable[[np.random.Generator, int], Game]] = {
    "sigmoid": sigmoid_game,
    "0/1": hard_game,
    "interactions": interactions,
}
CLIPS, CONCEPTS, REPEATS = 3, 30, 400


@cache
def planted() -> tuple[np.ndarray, dict[str, list[Game]], dict[str, np.ndarray]]:
    """Clips that have 19 to 27 of the concepts.

    present [video, concept]; the clips' games of each kind; the exact importance [concept] on these clips.
    """
    rng = np.random.default_rng(0)
    present = np.zeros((CLIPS, CONCEPTS), bool)
    for row in present:
        row[rng.choice(CONCEPTS, rng.integers(19, 28), replace=False)] = True
    games = {kind: [make(rng, int(row.sum())) for row in present] for kind, make in KINDS.items()}
    exact = {kind: np.zeros(present.shape) for kind in KINDS}
    for kind, clips in games.items():
        exact[kind][present] = np.concatenate([game.banzhaf() for game in clips])
    return present, games, {kind: values.mean(0) for kind, values in exact.items()}


def coverage(measure: Callable[[int, int], dict[str, Estimate]]) -> dict[str, np.ndarray]:
    """``shares_held`` of estimates, clip by clip. measure: (repetition, clip) -> the estimate for each kind of game."""
    present = planted()[0]

    def ranked(repeat: int) -> dict[str, Importance]:
        found = [measure(repeat, video) for video in range(CLIPS)]
        return {
            kind: combine("s", "e", "d", [e[kind] for e in found], [0] * CLIPS, present, np.zeros(CLIPS))
            for kind in found[0]
        }

    return shares_held(ranked)


def shares_held(measure: Callable[[int], dict[str, Importance]]) -> dict[str, np.ndarray]:
    """kind of game -> [concept], share of repetitions whose interval for these clips holds the exact value.

    measure: repetition -> the importance for each kind of game.
    """
    exact, held = planted()[2], {}
    for repeat in range(REPEATS):
        for kind, found in measure(repeat).items():
            holds = np.abs(found.importance - exact[kind]) <= found.half_widths()[0] + 1e-12
            held[kind] = held.get(kind, 0) + holds
    return {kind: count / REPEATS for kind, count in held.items()}


def check(shares: dict[str, np.ndarray]) -> None:
    """93 % over all concepts, and no concept's intervals are wrong (400 repetitions are known to 1.1 %)."""
    found = {kind: (round(float(share.mean()), 3), round(float(share.min()), 3)) for kind, share in shares.items()}
    assert all(mean >= 0.93 and least >= 0.89 for mean, least in found.values()), found


@pytest.mark.parametrize(
    "folded, blocks, kinds",
    [(True, 1, ("sigmoid", "0/1")), (True, 3, ("sigmoid", "0/1")), (False, 2, ("interactions", "0/1"))],
)
def test_intervals_from_blocks_hold_the_exact_values(folded, blocks, kinds):
    """One or two blocks: errors are pooled over concepts; three: each concept has its own."""
    present, games, _ = planted()

    def measure(repeat: int, video: int) -> dict[str, Estimate]:
        there, clip = present[video], f"{repeat}-{video}"
        design = Hadamard(KEY, 10_000, folded=folded)
        kept = design.rows(clip, 0, blocks * design.block_rows(there), there)[:, there].astype(float)
        scores = {kind: games[kind][video].value(kept) for kind in kinds}
        return {kind: estimate("contrast", design, y, 0.0, clip, there) for kind, y in scores.items()}

    check(coverage(measure))


@pytest.mark.parametrize(
    "estimator, paired, masks",
    [("contrast", False, 64), ("contrast", True, 64), ("regression", False, 40), ("regression", True, 80)],
)
def test_intervals_from_coins_hold_the_exact_values(estimator, paired, masks):
    """Least squares from few masks more than there are concepts."""
    present, games, _ = planted()
    rng = np.random.default_rng(2)

    def measure(repeat: int, video: int) -> dict[str, Estimate]:
        gates = np.ones((masks, CONCEPTS))
        kept = rng.integers(0, 2, (masks, int(present[video].sum()))).astype(float)
        if paired:
            kept[1::2] = 1 - kept[0::2]
        gates[:, present[video]] = kept
        return {
            kind: from_rows(estimator, games[kind][video].value(kept), gates, paired=paired)
            for kind in ("0/1", "interactions")
        }

    check(coverage(measure))


def test_intervals_hold_the_exact_values_where_few_masks_keep_a_concept():
    """Nine in ten are removed: each concept is kept in about six masks of 64. Its own effect counts at that share."""
    rng = np.random.default_rng(6)
    effects = rng.normal(size=12)
    held = np.zeros(12)
    for _ in range(REPEATS):
        kept = (rng.random((64, 12)) < 0.1).astype(float)
        found = from_rows("contrast", kept @ effects + rng.normal(size=64), kept)
        alone = combine("s", "e", "d", [found], [64], np.ones((1, 12), bool), np.zeros(1))
        held += np.abs(found.value - effects) <= alone.half_widths()[0]
    assert held.mean() / REPEATS >= 0.93


@pytest.mark.parametrize("chance", [1.0, 0.8])
def test_intervals_for_new_clips_hold_the_mean_of_their_population(chance):
    """Ten clips are drawn; each has a concept by this chance, and effects around the population's."""
    rng, clips, concepts, masks = np.random.default_rng(3), 10, 12, 32
    mean, pairs = rng.normal(0, 0.1, concepts), some_terms(rng, concepts, 2, 6)
    triples = some_terms(rng, concepts, 3, 6)
    held, narrow = np.zeros(concepts), np.zeros(concepts)
    for _ in range(REPEATS):
        estimates, present = [], rng.random((clips, concepts)) < chance
        for there in present:
            terms = tuple((members, rng.normal(0, 0.1, 6)) for members in (pairs, triples))
            game = Walsh((mean + rng.normal(0, 0.2, concepts)) * there, terms)
            kept = rng.integers(0, 2, (masks, concepts)).astype(float)
            kept[1::2] = 1 - kept[0::2]
            kept[:, ~there] = 1
            estimates.append(from_rows("contrast", game.value(kept), kept, paired=True))
        found = combine("s", "e", "d", estimates, [masks] * clips, present, np.zeros(clips))
        these, new = found.half_widths()
        error = np.abs(found.importance - 2 * chance * mean)
        held += error <= new
        narrow += error <= these
    shares = (held.mean() / REPEATS, narrow.mean() / REPEATS)
    assert shares[0] >= 0.93, shares
    assert shares[1] < shares[0] - 0.03, "the interval for these clips answers another question"


def test_an_independent_package_finds_the_same_values():
    """The oracle: shapiq's exact Banzhaf values, and our estimates beside them."""
    shapiq = pytest.importorskip("shapiq", reason="install the extra 'oracle'")
    for name, game in small_games().items():
        oracle = shapiq.ExactComputer(game.value, n_players=9)("BV", order=1).get_n_order_values(1)
        np.testing.assert_allclose(game.banzhaf(), oracle, atol=1e-12, err_msg=name)
        y = game.value(rows_of("folded-hadamard"))
        found = estimate("contrast", DESIGNS["folded-hadamard"], y, 0.0, CLIP, ALL)
        np.testing.assert_array_less(np.abs(found.value - oracle), 4 * np.sqrt(found.variance) + 1e-9, err_msg=name)
