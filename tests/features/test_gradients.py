"""Derivatives of a score with respect to values at sites."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import features, models
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import Edit, InputError, Model, family_of, forward
from vtcd_jax.scores.functions import accuracy, logit
from vtcd_jax.scores.targets import Targets

from ..models.networks import NETWORKS
from .conftest import clips_for

pytestmark = pytest.mark.compile

SITES = ("block_0/attn/key", "block_1/resid_post", "pooled")
# Sites of each family, of every kind that it has, and a smooth score that fits what it predicts.
FAMILIES = {
    "timesformer-divided": (("block_0/space_attn/key", "block_0/resid_pre_cls", "block_0/time_attn/value"), "logit"),
    "videomae-pretrain": (("encoder/block_0/attn/key", "decoder/block_0/resid_post"), "reconstruction"),
    "tcow": (("block_0/space_attn/key", "block_0/mlp/out"), "soft_iou"),
    "viclip": (("block_0/attn/key", "norm_cls"), "features"),
    "internvideo": (("block_0/attn/key", "extractor_1/attn/value", "video_cls"), "features"),
}


def one_block(name: str) -> Model:
    """A network of a family with one block and random parameters."""
    depth = {"depth": 1, "extractor_blocks": (0,)} if name == "internvideo" else {"depth": 1}
    config = dataclasses.replace(NETWORKS[name], **depth)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(0, 0.3, s.shape), jnp.float32), models.param_shapes(config))
    return models.build(config, params=params)


@pytest.fixture(scope="module")
def slopes(model, clips) -> dict[str, np.ndarray]:
    return features.gradient(model, clips, "logit", SITES, target="dropping")


def features_norm(output, context):
    """A user's own score, for networks without sentences."""
    return jnp.square(output.video_features).sum(-1)


def test_derivatives_are_those_of_the_score(model, clips, slopes):
    """Against ``jax.jvp`` of a forward pass, along a random direction at each site."""
    rng = np.random.default_rng(0)
    assert tuple(slopes) == SITES and slopes[SITES[0]].shape == (4, 2, 2, 2, 2, 4)

    @jax.jit
    def along(direction, inputs):
        def score(step):
            edits = {site: Edit(shift=step * value) for site, value in direction.items()}
            return forward(model, inputs, edits=edits)[0].logits[0, 1]

        return jax.jvp(score, (0.0,), (1.0,))[1]

    for site in SITES:
        direction = {s: np.zeros(slopes[s].shape[1:], np.float32) for s in SITES}
        direction[site] = rng.normal(size=slopes[site].shape[1:]).astype(np.float32)
        expected = [float(along(direction, clip_inputs(model, clips, i))) for i in range(len(clips))]
        found = (slopes[site] * direction[site]).reshape(len(clips), -1).sum(1)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pool, axes", [("space", (2, 3)), ("all", (1, 2, 3))])
def test_pooled_derivatives_are_sums_over_positions(model, clips, slopes, pool, axes):
    pooled = features.gradient(model, clips, "logit", SITES, target="dropping", pool=pool)
    for site in SITES[:2]:
        np.testing.assert_allclose(pooled[site], slopes[site].sum(axes), atol=1e-5)
    np.testing.assert_allclose(pooled["pooled"], slopes["pooled"], atol=1e-6)


def test_without_a_target_it_is_each_clips_predicted_class(model, clips, slopes):
    passed = jax.jit(lambda inputs: forward(model, inputs)[0].logits[0].argmax())
    predicted = np.asarray([passed(clip_inputs(model, clips, i)) for i in range(len(clips))], np.int32)
    own = features.gradient(model, clips, "logit", "pooled")["pooled"]
    given = features.gradient(model, clips, logit, "pooled", target=Targets(predicted))["pooled"]
    np.testing.assert_allclose(own, given, atol=1e-6)
    several = features.gradient(model, clips, logit, "pooled", target=Targets(np.array([1, 0, 2, 1], np.int32)))
    np.testing.assert_allclose(several["pooled"][[0, 3]], slopes["pooled"][[0, 3]], atol=1e-6)
    assert not np.allclose(several["pooled"][1], slopes["pooled"][1], atol=1e-3)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_every_kind_of_network_has_derivatives_at_all_kinds_of_sites(name):
    """Against a difference quotient of the score along the derivative itself."""
    model = one_block(name)
    sites, score = FAMILIES[name]
    clips = clips_for(model, 1)
    if "query" in family_of(model).needs:
        clips = dataclasses.replace(clips, masks={"target": clips.query})
    score = features_norm if score == "features" else score
    found = features.gradient(model, clips, score, sites, target=1 if score == "logit" else None)
    step = {site: value[0] / np.linalg.norm(value) for site, value in found.items()}
    value = jax.jit(lambda size: _score(model, clips, score, {s: size * v for s, v in step.items()}))
    expected = sum(float(np.linalg.norm(v)) for v in found.values())
    size = 1e-3
    assert min(float(np.linalg.norm(v)) for v in found.values()) > 1e-5
    np.testing.assert_allclose((value(size) - value(-size)) / (2 * size), expected, rtol=0.03)


def _score(model, clips, score, shifts):
    from vtcd_jax.scores.functions import SCORES, Context

    edits = {site: Edit(shift=value) for site, value in shifts.items()}
    output = forward(model, clip_inputs(model, clips, 0), edits=edits)[0]
    mask = None if clips.query is None else jnp.asarray(clips.query)
    context = Context(jnp.asarray(clips.video / 255, jnp.float32), jnp.ones(1, jnp.int32), mask, model.config)
    return (SCORES[score] if isinstance(score, str) else score)(output, context)[0]


@pytest.mark.parametrize(
    "score, message",
    [
        ("accuracy", "score 'accuracy' has no slope; take 'log_probability'"),
        (accuracy, "score 'accuracy' has no slope; take 'log_probability'"),
        ("iou", "score 'iou' has no slope; take 'soft_iou'"),
        ("logits", "unknown score 'logits'; nearest: 'logit'"),
        ("reconstruction", "needs a network that reconstructs"),
        (lambda output: output.logits[:, 0], r"must be a function \(output, context\) -> \[batch\]"),
        (lambda output, context: output.logits, r"must give one float per clip, \[batch\]"),
        (lambda output, context: output.logits.argmax(-1), r"must give one float per clip, \[batch\]"),
    ],
)
def test_what_is_no_smooth_score_of_the_network_is_refused(model, clips, score, message):
    with pytest.raises(InputError, match=message):
        features.gradient(model, clips, score, "pooled")


@pytest.mark.parametrize(
    "target, message",
    [
        ("droping", "unknown target class 'droping'; nearest: 'dropping'"),
        (3, "target class 3 is out of range; the model has classes 0 to 2"),
        (-1, "target class -1 is out of range"),
        (Targets(np.array([0, 1, -1, 0], np.int32)), "clip 2: target class -1 is out of range"),
        (Targets(np.zeros(3, np.int32)), "4 clips, but targets of 3"),
    ],
)
def test_targets_that_the_network_lacks_are_refused(model, clips, target, message):
    with pytest.raises(InputError, match=message):
        features.gradient(model, clips, "logit", "pooled", target=target)
