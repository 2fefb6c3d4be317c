"""Exact importance is that of enumeration, and what CRIS estimates; circuits make the usual measures disagree."""

from __future__ import annotations

from itertools import product
from math import factorial

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.importance import Support
from vtcd_jax.planted.circuits import importance
from vtcd_jax.planted.circuits.importance import banzhaf, logit_under, planned_importance
from vtcd_jax.planted.circuits.properties import GRID
from vtcd_jax.planted.circuits.wiring import HEADS, PLACES, SITES


def support(instance, per_head: dict[int, int], *, nested: bool = False, shared: bool = False) -> Support:
    """Concepts of some heads by tokens drawn at random; nested: one more of each head that holds all of its tokens but
    a few; shared: the heads use the same concepts."""
    rng = np.random.default_rng(2)
    ids = {site: np.full((len(instance.clips), *GRID, HEADS, 2), -1, np.int32) for site in SITES}
    start = 0
    for head, number in per_head.items():
        site, index = PLACES[head]
        own = rng.integers(start, start + number, (len(instance.clips), *GRID))
        ids[site][..., index, 0] = own
        if nested:
            ids[site][..., index, 1] = np.where(own > start, start + number, -1)
        start += 0 if shared else number + nested
    count = 1 + max(int(a.max()) for a in ids.values())
    return Support(ids, count, hashes=instance.clips.hashes)


def all_subsets(count: int) -> np.ndarray:
    return np.array(list(product([0, 1], repeat=count)), np.float32)


def enumerated(instance, concepts: Support, video: int) -> np.ndarray:
    gates = all_subsets(concepts.concepts)
    v = logit_under(instance, concepts, video, gates)
    return np.array([v[gates[:, i] == 1].mean() - v[gates[:, i] == 0].mean() for i in range(concepts.concepts)])


def shapley(instance, concepts: Support, video: int) -> np.ndarray:
    n, gates = concepts.concepts, all_subsets(concepts.concepts)
    v = {tuple(row): value for row, value in zip(gates, logit_under(instance, concepts, video, gates), strict=True)}
    out = np.zeros(n)
    for row, value in v.items():
        for i in range(n):
            if row[i]:
                size = int(sum(row)) - 1
                without = (*row[:i], 0.0, *row[i + 1 :])
                out[i] += factorial(size) * factorial(n - size - 1) / factorial(n) * (value - v[without])
    return out


def circuit(instance, kind: str):
    return next(c for c in instance.wiring.circuits if c.kind == kind)


@pytest.mark.parametrize("kind", ["alone", "or", "and", "inhibited"])
@pytest.mark.parametrize("form", [{}, {"nested": True}, {"shared": True}])
def test_exact_importance_is_that_of_all_subsets(instance, kind, form):
    concepts = support(instance, dict.fromkeys(circuit(instance, kind).heads, 4), **form)
    wanted = np.mean([enumerated(instance, concepts, video) for video in range(len(instance.clips))], 0)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(planned_importance(instance, concepts), wanted, atol=1e-9)


def test_drawn_masks_come_close_to_it(instance, monkeypatch):
    concepts = support(instance, dict.fromkeys(circuit(instance, "and").heads, 6))
    exact = planned_importance(instance, concepts)
    monkeypatch.setattr(importance, "MOST", 0)
    drawn = planned_importance(instance, concepts)
    assert 0 < np.abs(drawn - exact).max() < 0.03 * np.abs(exact).max()


def test_concepts_of_heads_that_do_nothing_have_none(instance):
    acting = {h for c in instance.wiring.circuits for h in c.heads}
    idle = next(h for h in range(len(PLACES)) if h not in acting)
    np.testing.assert_array_equal(planned_importance(instance, support(instance, {idle: 5})), np.zeros(5))


def test_circuits_make_the_measures_differ(instance):
    """Redundancy hides a concept from occlusion; conjunction and inhibition separate Banzhaf from Shapley values."""
    whole = {kind: support(instance, dict.fromkeys(circuit(instance, kind).heads, 1)) for kind in ("or", "and")}
    everything = np.array([[1, 1], [0, 1], [1, 0]], np.float32)
    for video in range(len(instance.clips)):
        v = logit_under(instance, whole["or"], video, everything)
        values = enumerated(instance, whole["or"], video)
        assert values.min() > 0.1
        assert v[0] - v[1] < values[0] and v[0] - v[2] < values[1]  # occlusion sees less
    parts = support(instance, dict.fromkeys(circuit(instance, "and").heads, 3))
    one, other = enumerated(instance, parts, 0), shapley(instance, parts, 0)
    assert np.abs(one - other).max() > 0.05 * np.abs(one).max()
    _, against = circuit(instance, "inhibited").heads
    assert planned_importance(instance, support(instance, {against: 1}))[0] < -0.1


def test_a_circuit_counts_only_its_own_heads(instance):
    kind = circuit(instance, "or")
    concepts = support(instance, {h: 2 for c in instance.wiring.circuits for h in c.heads})
    value = banzhaf(instance, concepts, 0, kind)
    assert 0 < (value != 0).sum() <= 4


@pytest.mark.compile
def test_cris_with_many_masks_comes_to_the_exact_importance(instance, circuits):
    acting = [h for c in instance.wiring.circuits for h in c.heads]
    ids = support(instance, dict.fromkeys(acting, 2))
    concepts = planted.from_tokens(instance.clips, dict(ids.ids), ids.concepts)
    ranked = planted.vtcd(planted.VtcdSettings(masks=1024)).rank(circuits, instance.clips, concepts, jax.random.key(0))
    exact = planned_importance(instance, ids)
    assert np.corrcoef(ranked, exact)[0, 1] > 0.98
