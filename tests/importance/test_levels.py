"""Designs for a hierarchy of concepts: every node is measured as one player, by games with known answers."""

from __future__ import annotations

from itertools import product

import numpy as np

from vtcd_jax.base.statistics import half_width
from vtcd_jax.importance.curves import curve_gates, leaves_of
from vtcd_jax.importance.designs import Levels
from vtcd_jax.importance.estimation import convergence, interim_rows, permutation_null
from vtcd_jax.importance.estimation.estimators import estimate

# leaves 0-5; node 6 = {0, 1}, node 7 = {0, 1, 2}, node 8 = {3, 4}
PARENT = np.array([6, 6, 7, 8, 8, -1, 7, -1, -1])
MEMBERS = np.zeros((9, 6), bool)
for _leaf in range(6):
    _node = _leaf
    while _node >= 0:
        MEMBERS[_node, _leaf] = True
        _node = PARENT[_node]
ALL = np.ones(9, bool)


def redundant(leaves: np.ndarray) -> np.ndarray:
    """0 OR 1 (each alone suffices), plus 3 AND 4, plus 2 · leaf 2 - leaf 5. leaves: [..., 6] of 0 and 1."""
    either = np.maximum(leaves[..., 0], leaves[..., 1])
    return either + leaves[..., 3] * leaves[..., 4] + 2 * leaves[..., 2] - leaves[..., 5]


def exact(node: int, cut: np.ndarray) -> float:
    """Effect of a node when the others of a cut are fair coins, by enumeration."""
    players = np.unique(cut[:6])
    values = {0: [], 1: []}
    for bits in product((0, 1), repeat=len(players)):
        gate = dict(zip(players.tolist(), bits, strict=True))
        values[gate[node]].append(redundant(np.array([gate[int(p)] for p in cut[:6]], float)))
    return float(np.mean(values[1]) - np.mean(values[0]))


def test_every_leaf_lies_in_one_node_of_each_cut_and_every_node_in_some_cut():
    cuts = Levels(0, 64, PARENT).cuts
    np.testing.assert_array_equal(cuts[:, :6], [[0, 1, 2, 3, 4, 5], [6, 6, 2, 8, 8, 5], [7, 7, 7, 8, 8, 5]])
    assert set(np.unique(cuts[:, :6])) == set(range(9))


def test_a_node_is_measured_as_one_player_and_not_as_the_sum_of_its_parts():
    design = Levels(3, 4096, PARENT)
    rows = design.rows("clip", 0, design.count(ALL), ALL)
    found = estimate("contrast", design, redundant(rows[:, :6]), 3.0, "clip", ALL)
    cuts = design.cuts
    for node in range(9):
        wanted = np.mean([exact(node, cut) for cut in cuts if node in cut[:6]])
        assert abs(found.value[node] - wanted) < 4 * np.sqrt(found.variance[node]) + 0.03, node
    assert abs(found.value[6] - 1) < 0.05 and found.value[0] + found.value[1] > 0.9  # OR: 1, the parts 1/2 each
    assert abs(found.value[8] - 1) < 0.05 and abs(found.value[3] - 0.5) < 0.1  # AND of both: 1; of one: 1/2


def test_rows_do_not_depend_on_how_they_are_asked_for_and_pairs_are_complements():
    design = Levels(1, 300, PARENT)
    present = ALL.copy()
    present[[3]] = False
    count = design.count(present)
    rows = design.rows("a", 0, count, present)
    np.testing.assert_array_equal(
        rows, np.concatenate([design.rows("a", s, min(s + 7, count), present) for s in range(0, count, 7)])
    )
    players = np.flatnonzero((rows != 1).any(0))
    np.testing.assert_array_equal(players, [0, 1, 2, 4, 5])
    np.testing.assert_array_equal(rows[0::2][:, players], 1 - rows[1::2][:, players])
    assert not np.array_equal(rows, design.rows("b", 0, count, present))


def test_parts_of_a_node_that_is_a_player_have_its_gate():
    design = Levels(1, 512, PARENT)
    level = design.levels(ALL)[2]
    rows = design.rows("a", 0, design.count(ALL), ALL)[design.rows_of(level, ALL)]
    np.testing.assert_array_equal(rows[:, 0], rows[:, 2])
    np.testing.assert_array_equal(rows[:, 3], rows[:, 4])
    assert 0.2 < np.corrcoef(rows[:, 0], rows[:, 3])[0, 1] + 0.3 < 0.4  # other players vary by themselves


def test_with_fewer_masks_than_a_cycle_every_level_has_its_share():
    assert Levels(0, 100, PARENT).cycle(ALL) > 20
    design = Levels(0, 20, PARENT)
    rows = design.rows("a", 0, design.count(ALL), ALL)
    assert len(rows) <= 20
    found = estimate("contrast", design, redundant(rows[:, :6]), 3.0, "a", ALL)
    assert np.isfinite(found.value).all()


def test_intervals_null_convergence_and_early_stopping_know_the_levels():
    design = Levels(5, 400, PARENT)
    hashes, present = ("a", "b", "c"), np.ones((3, 9), bool)
    rng = np.random.default_rng(0)
    y = np.stack([redundant(design.rows(h, 0, design.count(ALL), ALL)[:, :6]) for h in hashes])
    y = y + 0.3 * rng.normal(size=y.shape)
    null = permutation_null("contrast", design, y, hashes, present, key=0, draws=100)
    assert (null.p[[2, 5, 6, 7, 8]] < 0.05).all() and np.isfinite(null.p).all()
    curve = convergence("contrast", design, y, np.full(3, 3.0), hashes, present)
    assert len(curve.masks) > 1 and curve.correlation[-1] > 0.9
    ends = list(interim_rows(design, present))
    assert all(row % design.cycle(ALL) == 0 for row in ends[0]) and (ends[-1] == design.count(ALL)).all()


def test_intervals_cover_the_value_of_every_node():
    """Two-sided 95 % intervals over repetitions of noisy scores contain the exact value in at least 93 %."""
    inside, rng = [], np.random.default_rng(0)
    wanted = [np.mean([exact(n, cut) for cut in Levels(0, 2, PARENT).cuts if n in cut[:6]]) for n in range(9)]
    for key in range(60):
        design = Levels(key, 200, PARENT)
        y = redundant(design.rows("clip", 0, design.count(ALL), ALL)[:, :6])
        found = estimate("contrast", design, y + rng.normal(size=y.shape), 3.0, "clip", ALL)
        inside.append(np.abs(found.value - wanted) <= half_width(np.sqrt(found.variance), found.dof, 0.95))
    assert np.mean(inside) >= 0.93


def test_removal_counts_no_leaf_twice():
    order = np.array([6, 5, 1, 7, 0, 2, 8, 4, 3])
    np.testing.assert_array_equal(leaves_of(order, MEMBERS), [1, 0, 5, 2, 4, 3])
    np.testing.assert_array_equal(leaves_of(order[::-1], MEMBERS), [3, 4, 2, 0, 1, 5])
    gates = curve_gates(order, np.array([0, 2, 6]), 1, 0, MEMBERS)
    np.testing.assert_array_equal(np.flatnonzero(gates[1] == 0), [0, 1])
    np.testing.assert_array_equal(np.flatnonzero(gates[2] == 0), range(6))
