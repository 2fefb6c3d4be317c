"""Networks of version 2 do what was written into them, seen from outside: by masked passes."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.data import clip_inputs
from vtcd_jax.importance import Support, Targets, scores
from vtcd_jax.models import forward
from vtcd_jax.planted.baselines.arrays import features_of
from vtcd_jax.planted.circuits.importance import planned_scores
from vtcd_jax.planted.circuits.outputs import class_logits
from vtcd_jax.planted.circuits.properties import GRID, NAMES
from vtcd_jax.planted.circuits.wiring import HEADS, PER_HEAD, PLACES, RANK, SITES

pytestmark = pytest.mark.compile


def every_head(instance, per_head: int, seed: int = 0) -> Support:
    """Random concepts of every head, two slots."""
    rng, shape = np.random.default_rng(seed), (len(instance.clips), *GRID, HEADS, 2)
    first = per_head * np.arange(HEADS)[:, None]
    ids = {
        site: (rng.integers(0, per_head, shape) + first + per_head * HEADS * s).astype(np.int32)
        for s, site in enumerate(SITES)
    }
    return Support(ids, per_head * len(PLACES), hashes=instance.clips.hashes)


def measured(network, instance, support, gates) -> np.ndarray:
    targets = Targets(instance.clips.labels)
    return scores(network, instance.clips, support, gates, score="logit", targets=targets, dtype="float32")["logit"]


def test_scores_in_closed_form_are_those_of_the_network(instance, circuits):
    support = every_head(instance, 3)
    gates = (np.random.default_rng(1).random((24, support.concepts)) > 0.3).astype(np.float32)
    gates[0], gates[1] = 1, 0
    planned, found = planned_scores(instance, support, gates), measured(circuits, instance, support, gates)
    assert np.ptp(planned, axis=1).min() > 3
    # Pixels are whole numbers, so a value is read with an error of about 0.01, and e^{4 v} with one of 4 %.
    np.testing.assert_allclose(found, planned, atol=0.015 * np.ptp(planned))


def test_the_label_is_the_class_with_the_largest_logit_and_noise_changes_none(instance, circuits):
    run = jax.jit(lambda model, inputs: forward(model, inputs)[0].logits[0])
    plain = instance.model(0.0)
    for video, label in enumerate(instance.clips.labels):
        inputs = clip_inputs(circuits, instance.clips, video)
        logits = np.asarray(run(circuits, inputs))
        np.testing.assert_allclose(logits, class_logits(instance.wiring, instance.values[video]), atol=0.15)
        np.testing.assert_allclose(run(plain, inputs), logits, atol=0.02)
        assert logits[label] > logits.max() - 0.1


def test_only_tokens_of_the_sought_property_of_acting_heads_do_anything(instance, circuits):
    """One concept per head: what the head seeks, and one more: everything else; all heads that idle."""
    ids = {site: np.full((len(instance.clips), *GRID, HEADS, 1), -1, np.int32) for site in SITES}
    acting = {h for circuit in instance.wiring.circuits for h in circuit.heads}
    for h, (site, index) in enumerate(PLACES):
        head = instance.wiring.heads[h]
        has = instance.values[:, head.properties[head.sought]] > 0
        ids[site][..., index, 0] = np.where(has, 0, 1) if h in acting else 2
    support = Support(ids, 3, hashes=instance.clips.hashes)
    found = measured(circuits, instance, support, np.array([[1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    assert np.abs(found[:, 1] - found[:, 0]).min() > 1
    np.testing.assert_allclose(found[:, 2], found[:, 0], atol=0.1)
    np.testing.assert_allclose(found[:, 3], found[:, 0], atol=1e-4)


def test_keys_hold_more_properties_than_they_have_dimensions(instance):
    features = features_of(instance.model(1.0), instance.clips)
    assert PER_HEAD > RANK
    for site, head in PLACES:
        keys = features[site][..., head, :].reshape(-1, features[site].shape[-1])
        strengths = np.linalg.svd(keys, compute_uv=False)
        assert (strengths > 1e-3 * strengths[0]).sum() == RANK
    for head in instance.wiring.heads:
        unit = head.directions / np.linalg.norm(head.directions, axis=1, keepdims=True)
        cosines = np.abs(unit @ unit.T)[np.triu_indices(PER_HEAD, 1)]
        assert 0.3 < cosines.max() < 0.95 and len(set(head.properties)) == PER_HEAD


def test_keys_without_noise_are_the_sum_of_directions_of_what_a_token_has(instance):
    features = features_of(instance.model(0.0), instance.clips)
    for (site, index), head in zip(PLACES, instance.wiring.heads, strict=True):
        values = np.moveaxis(instance.values[:, list(head.properties)], 1, -1)
        np.testing.assert_allclose(features[site][..., index, :], values @ head.directions @ head.basis.T, atol=0.06)


def test_properties_spread_over_heads_and_blocks_and_seeds_differ(instance):
    places = {name: instance.wiring.places(name) for name in NAMES}
    assert min(map(len, places.values())) >= 1
    assert sum(len({site for site, _ in own}) > 1 for own in places.values()) >= 5
    assert sum(len(own) == len({site for site, _ in own}) + 1 for own in places.values()) >= 1  # two heads of a block
    other = planted.instance(8, 4).wiring
    assert [c.heads for c in other.circuits] != [c.heads for c in instance.wiring.circuits]
    assert [h.properties for h in other.heads] != [h.properties for h in instance.wiring.heads]
    assert {c.kind for c in other.circuits} == {"alone", "or", "and", "inhibited"}
