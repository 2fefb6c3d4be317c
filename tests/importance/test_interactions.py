"""Interactions of pairs of concepts: games in which they are known."""

from __future__ import annotations

import numpy as np
import pytest

from vtcd_jax.importance.designs import Bernoulli, Hadamard, Paired
from vtcd_jax.importance.estimation.interactions import holm, pair_interactions
from vtcd_jax.models import InputError

PLAYERS = 10
DESIGNS = {"paired": lambda key: Paired(key, 800), "folded-hadamard": lambda key: Hadamard(key, 800)}


def game(kept: np.ndarray) -> np.ndarray:
    """0 AND 1, 2 OR 3, and 4 to 9 by themselves. kept: [..., player]."""
    either = np.maximum(kept[..., 2], kept[..., 3])
    return kept[..., 0] * kept[..., 1] + either + kept[..., 4:] @ np.array([2.0, -1, 0.5, 0, 0, 0])


def measured(design, noise, seed, clips=2):
    present = np.ones((clips, PLAYERS), bool)
    rng, hashes = np.random.default_rng(seed), [f"clip{i}" for i in range(clips)]
    y = np.stack([game(design.rows(h, 0, design.count(present[0]), present[0])) for h in hashes])
    return pair_interactions(design, y + noise * rng.normal(size=y.shape), hashes, present)


@pytest.mark.parametrize("name", DESIGNS)
def test_and_and_or_are_found_with_their_sign_and_size(name):
    found = measured(DESIGNS[name](0), 0.3, 0)
    significant = {tuple(pair): found.value[i] for i, pair in enumerate(found.pairs.tolist()) if found.p[i] < 0.05}
    assert set(significant) == {(0, 1), (2, 3)}
    assert significant[0, 1] == pytest.approx(1, abs=0.15) and significant[2, 3] == pytest.approx(-1, abs=0.15)
    kinds = {tuple(pair): found.kind(i) for i, pair in enumerate(found.pairs.tolist())}
    assert (kinds[0, 1], kinds[2, 3]) == ("AND", "OR") and len(found.pairs) == PLAYERS * (PLAYERS - 1) // 2


@pytest.mark.parametrize("name", DESIGNS)
def test_effects_that_add_up_are_seldom_called_interactions(name):
    """In 5 of 100 repetitions any pair may be significant; here at most 10."""
    wrong, present = 0, np.ones((1, PLAYERS), bool)
    weights = np.arange(PLAYERS) / 3
    for seed in range(100):
        design, rng = DESIGNS[name](seed), np.random.default_rng(seed)
        y = design.rows("a", 0, design.count(present[0]), present[0]) @ weights
        found = pair_interactions(design, (y + rng.normal(size=y.shape))[None], ["a"], present)
        wrong += found.p[0] < 0.05
    assert wrong <= 10


def test_one_block_a_clip_is_enough_with_many_clips():
    """Thirty clips of one block each: the test is over clips; with three of them there is none."""
    design, present = Hadamard(0, 32), np.ones((30, PLAYERS), bool)
    hashes = [f"clip{i}" for i in range(30)]
    y = np.stack([game(design.rows(h, 0, 32, present[0])) for h in hashes])
    y += 0.2 * np.random.default_rng(0).normal(size=y.shape)
    found = pair_interactions(design, y, hashes, present, score="logit")
    assert found.over == "clips" and found.score == "logit" and found.tests == 45 == len(found.pairs)
    assert {tuple(pair) for pair, p in zip(found.pairs.tolist(), found.p, strict=True) if p < 0.05} == {(0, 1), (2, 3)}
    assert len(found.first(3).pairs) == 3 and found.first(3).tests == 45
    with pytest.raises(InputError, match="or 4 clips"):
        pair_interactions(design, y[:3], hashes[:3], present[:3])
    copies = [f"clip{i % 3}" for i in range(30)]  # of three clips: no more is known than from three
    with pytest.raises(InputError, match="or 4 clips"):
        pair_interactions(design, y, copies, present)


def test_a_test_over_clips_is_seldom_wrong_where_effects_add_up():
    wrong, present, weights = 0, np.ones((8, PLAYERS), bool), np.arange(PLAYERS) / 3
    for seed in range(100):
        design, rng, hashes = Hadamard(seed, 32), np.random.default_rng(seed), [f"{seed}/{i}" for i in range(8)]
        y = np.stack([design.rows(h, 0, 32, present[0]) @ weights for h in hashes])
        found = pair_interactions(design, y + rng.normal(size=y.shape), hashes, present)
        wrong += found.p[0] < 0.05
    assert wrong <= 10


def test_clips_without_a_pair_count_as_none():
    design, present = Paired(0, 400), np.ones((3, PLAYERS), bool)
    present[1], present[2, 1:] = False, False
    y = np.full((3, 400), np.nan)
    y[0] = game(design.rows("a", 0, 400, present[0]))
    found, alone = (pair_interactions(design, y[:n], "abc"[:n], present[:n]) for n in (3, 1))
    np.testing.assert_allclose(found.value, alone.value / 3)
    np.testing.assert_allclose(found.p, alone.p)


def test_a_clip_without_one_of_the_two_counts_as_none():
    design = Paired(0, 4000)
    present = np.ones((2, PLAYERS), bool)
    present[1, 0] = False
    y = np.stack([game(design.rows(h, 0, 4000, present[i])) for i, h in enumerate("ab")])
    found = pair_interactions(design, y, ["a", "b"], present)
    value = {tuple(pair): v for pair, v in zip(found.pairs.tolist(), found.value, strict=True)}
    assert value[0, 1] == pytest.approx(0.5, abs=0.1) and value[2, 3] == pytest.approx(-1, abs=0.1)


def test_corrected_p_values_are_those_of_holm():
    np.testing.assert_allclose(holm(np.array([0.01, 0.02, 0.02, 0.9])), [0.04, 0.06, 0.06, 0.9])
    np.testing.assert_allclose(holm(np.array([0.5, 0.6])), [1.0, 1.0])


def test_designs_that_cannot_show_pairs_are_refused():
    present = np.ones((1, PLAYERS), bool)
    for design in (Bernoulli(0, 64), Hadamard(0, 64, folded=False)):
        with pytest.raises(InputError, match="folded-hadamard or paired"):
            pair_interactions(design, np.zeros((1, design.masks)), ["a"], present)
    few = Hadamard(0, 64)
    with pytest.raises(InputError, match="3 whole blocks"):
        pair_interactions(few, np.zeros((1, few.count(present[0]))), ["a"], present)
