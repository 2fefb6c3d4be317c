"""The planted network does what was written into it, seen from outside: by plain forward passes."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.data import clip_inputs
from vtcd_jax.models import Edit, Inputs, forward
from vtcd_jax.planted.network import stream
from vtcd_jax.planted.network.network import CHANNELS, WEIGHTS
from vtcd_jax.planted.network.truth import ACTING, GRID, SITES

pytestmark = pytest.mark.compile

IDLE = [(site, head) for site in SITES for head in range(2) if (site, head) not in ACTING]
# What each property's key channel is: (site, head, channel).
KEYS = {
    "right": (2, 0, 0), "left": (2, 0, 1), "red": (1, 0, 0), "blue": (1, 0, 1), "green": (1, 0, 2),
    "coloured": (1, 1, 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def run(network, clips):
    """video, {(site, head): tokens [time, height, width] to hide} -> logits; one compiled pass for all."""

    @jax.jit
    def masked(model, inputs: Inputs, kept):
        return forward(model, inputs, edits={site: Edit(scale=kept[site]) for site in SITES})[0].logits[0]

    def hidden(video: int, hide: dict) -> np.ndarray:
        kept = {site: np.ones((1, *GRID, 2, 1), np.float32) for site in SITES}
        for (site, head), tokens in hide.items():
            kept[site][0, ..., head, 0] = ~tokens
        return np.asarray(masked(network, clip_inputs(network, clips, video), kept))

    return hidden


@pytest.fixture(scope="module")
def keys(network, clips) -> list[np.ndarray]:
    """Of every site, [video, time, height, width, head, channel]."""
    capture = jax.jit(lambda inputs: forward(network, inputs, capture=SITES)[1])
    seen = [capture(clip_inputs(network, clips, video)) for video in range(len(clips))]
    return [np.concatenate([np.asarray(s[site]) for s in seen]) for site in SITES]


def test_hiding_marked_tokens_changes_the_logit_by_the_planned_amount(run, clips):
    """Both heads alone and together; nothing else that the clips show comes into it."""
    tokens = planted.token_masks(clips)
    for video, label in enumerate(clips.labels):
        moving = (tokens["right"] | tokens["left"])[video]
        n = int(moving.sum())
        half = moving & (np.cumsum(moving).reshape(moving.shape) <= n // 2)
        motion, colour = ACTING
        for hide, removed in (
            ({}, (0, 0)), ({motion: moving}, (n, 0)), ({colour: moving}, (0, n)), ({motion: half}, (n // 2, 0)),
            ({motion: half, colour: moving}, (n // 2, n)),
        ):  # fmt: skip
            logits = run(video, hide)
            assert logits[label] == pytest.approx(planted.planted_logit(n, *removed), rel=0.015)
            assert logits.argmax() == label


def test_the_classes_differ_by_the_signs_of_what_is_detected(run, clips):
    for video, label in enumerate(clips.labels):
        logits = run(video, {})
        assert logits[label] == pytest.approx(-logits[3 - label], rel=1e-3)  # other colour, other way


def test_heads_that_only_detect_change_nothing_at_all(run, clips):
    for video in (0, 3):
        unmodified = run(video, {})
        for place in IDLE:
            np.testing.assert_array_equal(run(video, {place: np.ones(GRID, bool)}), unmodified)


def test_other_tokens_of_the_heads_that_act_change_next_to_nothing(run, clips):
    tokens = planted.token_masks(clips)
    for video, label in enumerate(clips.labels):
        others = ~(tokens["right"] | tokens["left"])[video]
        unmodified = run(video, {})
        for place in ACTING:
            assert abs(run(video, {place: others})[label] - unmodified[label]) < 0.01


def test_keys_tell_the_tokens_of_their_property(keys, clips):
    tokens = planted.token_masks(clips)
    for name, (site, head, channel) in KEYS.items():
        told = keys[site][..., head, channel] > 0.5
        assert (told & tokens[name]).sum() >= 0.99 * told.sum(), name
        assert (told & tokens[name]).sum() >= 0.99 * tokens[name].sum(), name
    left, upper = (keys[0][..., 0, channel] > 0 for channel in (0, 1))
    for name, told in {
        "upper left": upper & left, "upper right": upper & ~left, "lower left": ~upper & left,
        "lower right": ~upper & ~left, "early": keys[0][..., 1, 0] > 0, "late": keys[0][..., 1, 0] <= 0,
    }.items():  # fmt: skip
        assert (told == tokens[name]).mean() > 0.95, name


def test_every_property_has_tokens_and_a_key(clips):
    tokens = planted.token_masks(clips)
    assert list(tokens) == [p.name for p in planted.PROPERTIES]
    assert all(mask.any() for mask in tokens.values())
    assert {p.name: p.weight for p in planted.PROPERTIES if p.acts is not None} == {
        "right": WEIGHTS["direction"], "left": WEIGHTS["direction"], "red": WEIGHTS["hue"], "blue": WEIGHTS["hue"],
    }  # fmt: skip


def test_what_else_keys_carry_is_never_asked_for(clips, network):
    plain, noisy = planted.model(noise=0.0), planted.model(noise=0.5)
    run = jax.jit(lambda model, inputs: forward(model, inputs, capture=SITES))
    inputs = clip_inputs(network, clips, 0)
    (one, few), (other, many) = run(plain, inputs), run(noisy, inputs)
    np.testing.assert_array_equal(one.logits, other.logits)
    for site in SITES:
        extra = np.asarray(many[site] - few[site])
        assert np.abs(extra).max() > 0.1 and np.abs(np.asarray(few[site])[..., CHANNELS - 20 :]).max() == 0


def test_what_is_written_to_the_stream_can_be_read_after_a_layer_norm():
    rng = np.random.default_rng(0)
    amounts = dict(zip(stream.QUANTITIES[1:], rng.uniform(-1, 1, len(stream.QUANTITIES) - 1), strict=True))
    table = stream.sine_cosine_table(int(np.prod(GRID)), stream.WIDTH)
    tokens = table + stream.write({"ballast": stream.BALLAST / stream.AMPLITUDE}) + stream.write(amounts)
    normed = (tokens - tokens.mean(1, keepdims=True)) / tokens.std(1, keepdims=True)
    for name, amount in amounts.items():
        np.testing.assert_allclose(normed @ stream.read({name: 1}), amount, atol=0.02)
    np.testing.assert_allclose(normed @ stream.read_one(), 1, atol=0.01)
