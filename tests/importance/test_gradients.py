"""Attribution by gradients of the same masked pass, and occlusion."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import vtcd_jax as vtcd
from vtcd_jax.concepts import Concepts
from vtcd_jax.concepts.settings import NmfConfig, SlicConfig
from vtcd_jax.importance import Support, Targets, scores
from vtcd_jax.importance.gradients import gradient_gate, integrated_gradients
from vtcd_jax.importance.occlusion import occlusion, soft_support
from vtcd_jax.models import InputError

pytestmark = pytest.mark.compile


@pytest.fixture(scope="module")
def concepts(model, clips) -> Concepts:
    slic = SlicConfig(n_segments=4)
    return vtcd.concepts.discover(model, clips, slic=slic, nmf=NmfConfig(max_steps=50, refits=0), key=jax.random.key(0))


def ends(model, clips, concepts: Concepts, mode: str = "zero") -> np.ndarray:
    """v(1) - v(0) of each clip."""
    gates = np.stack([np.ones(len(concepts)), np.zeros(len(concepts))]).astype(np.float32)
    found = scores(model, clips, Support.of(concepts), gates, score="logit", mode=mode, targets=Targets(clips.labels))[
        "logit"
    ]
    return found[:, 0] - found[:, 1]


def test_integrated_gradients_sum_to_what_removing_everything_costs(model, clips, concepts):
    found = integrated_gradients(model, clips, concepts, score="logit", steps=16, target="dropping")
    clips = dataclasses.replace(clips, labels=np.ones(3, np.int32))
    np.testing.assert_allclose(found.per_video.sum(1), ends(model, clips, concepts), rtol=2e-4, atol=2e-6)
    assert (found.per_video[~found.present] == 0).all() and (found.se_masks == 0).all()


def test_integrated_gradients_of_hidden_keys_sum_to_what_hiding_everything_costs(model, clips, concepts):
    """Tubelets tile the clip, so the path ends where no query sees a key: it must come there without a jump."""
    found = integrated_gradients(model, clips, concepts, score="logit", steps=16, target="dropping", mode="neg_inf")
    clips = dataclasses.replace(clips, labels=np.ones(3, np.int32))
    costs = ends(model, clips, concepts, "neg_inf")
    assert np.abs(costs).min() > 1e-3
    np.testing.assert_allclose(found.per_video.sum(1), costs, rtol=2e-3, atol=2e-5)
    slope = gradient_gate(model, clips, concepts, score="logit", target="dropping", mode="neg_inf")
    assert np.isfinite(slope.per_video).all() and np.isfinite(found.per_video).all()


def test_the_slope_at_the_unmodified_clip_is_that_of_the_score(model, clips, concepts):
    """Against a difference quotient of soft gates."""
    found = gradient_gate(model, clips, concepts, score="logit", target="dropping")
    clips = dataclasses.replace(clips, labels=np.ones(3, np.int32))
    concept = int(np.argmax(np.abs(found.per_video[0])))
    gates, step = np.ones((2, len(concepts)), np.float32), 0.02
    gates[0, concept], gates[1, concept] = 1 + step, 1 - step
    own = Targets(clips.labels)
    values = scores(model, clips, Support.of(concepts), gates, score="logit", targets=own)["logit"][0]
    np.testing.assert_allclose(found.per_video[0, concept], (values[0] - values[1]) / (2 * step), rtol=0.02)


def test_scores_without_slope_are_refused_with_one_that_has_it(model, clips, concepts):
    with pytest.raises(InputError, match="score 'accuracy' has no slope; take 'log_probability'"):
        integrated_gradients(model, clips, concepts, score="accuracy")


def test_occlusion_is_the_drop_without_each_concept(model, clips, concepts):
    found = occlusion(model, clips, concepts, score="logit", target="dropping")
    clips = dataclasses.replace(clips, labels=np.ones(3, np.int32))
    gates = 1 - np.eye(len(concepts), dtype=np.float32)
    support, asked = Support.of(concepts), {"score": "logit", "targets": Targets(clips.labels)}
    masked = scores(model, clips, support, gates, **asked)["logit"]
    unmodified = scores(model, clips, support, np.ones((1, len(concepts)), np.float32), **asked)["logit"]
    np.testing.assert_allclose(found.per_video, np.where(support.present(), unmodified - masked, 0), atol=4e-6)


def test_soft_occlusion_takes_from_each_tubelet_its_share_in_the_concept(concepts):
    """A tubelet's largest share counts 1, its smallest 0; the hard support is where the share is 1."""
    support = soft_support(concepts)
    for s, site in enumerate(concepts.sites):
        ids, weight = support.ids[site], support.weight[site]
        assert weight.min() >= 0 and weight.max() == 1
        strongest = np.take_along_axis(ids, weight.argmax(-1)[..., None], axis=-1)
        several = (ids >= 0).sum(-1) > 1
        np.testing.assert_array_equal(strongest[several], concepts.ids[site][several])
        for head in range(ids.shape[4]):
            own = ids[..., head, :]
            assert set(np.unique(own[own >= 0])) == set(np.flatnonzero((concepts.site == s) & (concepts.head == head)))


def test_soft_occlusion_runs_on_the_same_engine(model, clips, concepts):
    found = occlusion(model, clips, concepts, soft=True, score="logit")
    assert found.estimator == "drop" and found.design == "soft leave-one-out" and np.isfinite(found.importance).all()
