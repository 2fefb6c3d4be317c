"""What a removed value becomes: zero, a mean, another clip's value, or unseen by the softmax."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.ablation.inputs import donors, mean_values
from vtcd_jax.ablation.support import edits
from vtcd_jax.importance import Explicit, Hadamard, Support, Targets, scores
from vtcd_jax.models import Edit, InputError, Inputs
from vtcd_jax.models.families import timesformer

pytestmark = pytest.mark.compile

forward = jax.jit(models.forward, static_argnames="capture")
ALL = np.zeros((1, 8), np.float32)


def everywhere(support: Support) -> Support:
    """The same sites with every token in concept 0."""
    return Support({site: np.zeros_like(ids) for site, ids in support.ids.items()}, 8)


def logits_with(model, clips, video: int, edits_: dict[str, Edit]) -> np.ndarray:
    inputs = Inputs(model.preprocessing.normalise(clips.video[[video]]))
    return np.asarray(forward(model, inputs, edits=edits_)[0].logits)[0]


def test_keys_all_at_their_mean_give_every_token_the_same_weight(model, clips, support):
    """Equal keys make equal logits, so a whole head at any one value attends as a zeroed one does."""
    zero, mean = (
        scores(model, clips, everywhere(support), Explicit(ALL), score="logit", mode=mode)["logit"]
        for mode in ("zero", "mean")
    )
    np.testing.assert_allclose(mean, zero, atol=2e-6)


def test_the_mean_is_that_of_the_heads_tokens_over_all_clips(model, clips, support):
    site = "block_1/attn/key"
    values = [
        forward(model, Inputs(model.preprocessing.normalise(clips.video[[v]])), capture=(site,))[1][site]
        for v in range(3)
    ]
    np.testing.assert_allclose(
        mean_values(model, clips, (site,))[site], np.mean(values, axis=(0, 1, 2, 3, 4)), rtol=1e-4, atol=1e-6
    )


def test_resampling_everything_takes_the_other_clips_keys(model, clips, support):
    asked = {"score": "logit", "mode": "resample", "targets": Targets(clips.labels)}
    found = scores(model, clips, everywhere(support), Explicit(ALL), **asked)["logit"][:, 0]
    other = donors(clips)
    assert sorted(other) == [0, 1, 2] and not (other == np.arange(3)).any()
    for video in range(3):
        inputs = Inputs(model.preprocessing.normalise(clips.video[[other[video]]]))
        taken = forward(model, inputs, capture=tuple(support.ids))[1]
        expected = logits_with(model, clips, video, {s: Edit(scale=0.0, shift=v) for s, v in taken.items()})
        np.testing.assert_allclose(found[video], expected[clips.labels[video]], atol=2e-6)


def test_hidden_keys_take_no_part_in_the_softmax(model, clips, support):
    """Hiding a head's other tokens makes every query of that head see the one that is left."""
    site = "block_1/attn/key"
    ids = np.zeros_like(support.ids[site])
    ids[..., 0, 0, 0, :, :] = -1  # the first position is kept
    one = Support({site: ids}, 8)
    clip = {s: a[:1] for s, a in one.ids.items()}
    inputs = Inputs(model.preprocessing.normalise(clips.video[:1]))
    made = edits(jax.numpy.asarray(ALL[0]), {s: jax.numpy.asarray(a) for s, a in clip.items()}, {}, "neg_inf")
    seen = forward(model, inputs, edits=made, capture=("block_1/attn/mixed", "block_1/attn/value"))[1]
    kept = np.asarray(seen["block_1/attn/value"])[:, :1, :1, :1]
    np.testing.assert_allclose(seen["block_1/attn/mixed"], np.broadcast_to(kept, (1, 2, 2, 2, 2, 8)), atol=1e-6)


def test_a_head_of_which_every_key_is_hidden_says_nothing(model, clips, support):
    """What is added to all logits alike does not change a softmax, and yet the head must be gone."""
    one = {"block_1/attn/key": np.full_like(support.ids["block_1/attn/key"], -1)}
    one["block_1/attn/key"][..., 1, :] = 0  # all of the second head
    whole = Support(one, 1)
    clip = {site: jax.numpy.asarray(ids[:1]) for site, ids in one.items()}
    made = edits(jax.numpy.zeros(1), clip, {}, "neg_inf")
    inputs = Inputs(model.preprocessing.normalise(clips.video[:1]))
    mixed, unmodified = (
        np.asarray(forward(model, inputs, edits=e, capture="block_1/attn/mixed")[1]["block_1/attn/mixed"])
        for e in (made, {})
    )
    np.testing.assert_allclose(mixed[..., 1, :], 0, atol=1e-20)
    np.testing.assert_array_equal(mixed[..., 0, :], unmodified[..., 0, :])
    kept, gone = scores(model, clips, whole, [[1.0], [0.0]], score="logit", mode="neg_inf")["logit"].T
    assert np.abs(kept - gone).min() > 1e-3
    expected = logits_with(model, clips, 0, {"block_1/attn/mixed": Edit(scale=np.array([1.0, 0.0])[:, None])})
    found = scores(model, clips, whole, [[0.0]], score="logit", mode="neg_inf", targets=Targets(clips.labels))["logit"]
    np.testing.assert_allclose(found[0, 0], expected[clips.labels[0]], atol=2e-6)


def test_hiding_a_head_bit_by_bit_ends_where_hiding_it_at_once_does(model, clips, support):
    soft = np.array([[1.0], [0.5], [1e-3], [1e-6], [0.0]], np.float32).repeat(8, axis=1)
    for ids in (support, everywhere(support)):  # with tokens of no concept, which stay seen, and without
        found = scores(model, clips, ids, soft, score="logit", mode="neg_inf")["logit"]
        np.testing.assert_allclose(found[:, 3], found[:, 4], atol=1e-4)
        assert np.abs(found[:, 0] - found[:, 4]).min() > 1e-3


def test_special_tokens_stay_seen_when_every_position_is_hidden():
    """Queries then see the class token alone."""
    config = timesformer.TimeSformerConfig(
        image_size=16, patch_size=8, num_frames=2, width=16, depth=1, num_heads=2, num_classes=3, attention="joint"
    )
    network = models.build(config, key=4)
    inputs = Inputs(np.random.default_rng(0).normal(size=(1, 2, 16, 16, 3)).astype(np.float32))
    shape = models.sites(network)["block_0/attn/key"].shape
    made = edits(jax.numpy.zeros(1), {"block_0/attn/key": jax.numpy.zeros((*shape[:-1], 1), int)}, {}, "neg_inf")
    seen = forward(network, inputs, edits=made, capture=("block_0/attn/mixed", "block_0/attn/value_cls"))[1]
    token = np.asarray(seen["block_0/attn/value_cls"])[:, 0, 0]  # [batch, head, channel]
    mixed = np.asarray(seen["block_0/attn/mixed"])
    np.testing.assert_allclose(mixed, np.broadcast_to(token[:, None, None, None], mixed.shape), atol=1e-6)


def test_heads_as_players_matter_when_they_are_hidden(model, clips, support):
    """Every mask of the design ``heads`` hides whole heads."""
    ids = np.broadcast_to(np.arange(2, dtype=np.int32)[:, None], (3, 2, 2, 2, 2, 1))
    whole = Support({"block_1/attn/key": ids}, 2)
    design = Hadamard(5, 32, groups=np.arange(2))
    found = scores(model, clips, whole, design, score="logit", mode="neg_inf")["logit"]
    assert found.std(1).min() > 1e-3


def test_a_donor_has_other_pixels(clips):
    """A clip listed twice is no donor for itself."""
    twice = clips[[0, 0, 1, 1, 2]]
    chosen = donors(twice)
    assert all(twice.pixel_hashes[d] != own for d, own in zip(chosen, twice.pixel_hashes, strict=True))
    assert [twice.pixel_hashes[d] for d in chosen[[0, 2, 4]]] == [clips.pixel_hashes[d] for d in donors(clips)]
    with pytest.raises(InputError, match="at least two with other pixels"):
        donors(clips[[1, 1]])


def test_all_modes_leave_a_clip_alone_where_nothing_is_removed(model, clips, support):
    plain = scores(model, clips, support, Explicit(1 - ALL), score="logit")["logit"]
    for mode in ("mean", "resample", "neg_inf"):
        found = scores(model, clips, support, Explicit(1 - ALL), score="logit", mode=mode)["logit"]
        np.testing.assert_allclose(found, plain, atol=2e-6, err_msg=mode)


def test_modes_that_do_not_fit_are_refused(model, clips, support):
    values = Support({"block_0/attn/value": support.ids["block_0/attn/key"]}, 8)
    with pytest.raises(InputError, match="'neg_inf' hides keys from the softmax; 'block_0/attn/value' holds no keys"):
        scores(model, clips, values, Explicit(ALL), score="logit", mode="neg_inf")
    first = Support({s: ids[:1] for s, ids in support.ids.items()}, 8)
    with pytest.raises(InputError, match="from another clip; give at least two"):
        scores(model, clips[[0]], first, Explicit(ALL), score="logit", mode="resample")
    with pytest.raises(InputError, match="unknown mode 'median'; known: zero, mean"):
        scores(model, clips, support, Explicit(ALL), score="logit", mode="median")


def test_streams_are_one_head(model, clips, support):
    """Removing all of a stream at a block is a network without what came before it."""
    site = "block_1/resid_pre"
    ids = np.zeros((3, 2, 2, 2, 1, 1), np.int32)
    own, one = Targets(clips.labels), Support({site: ids}, 1)
    found = scores(model, clips, one, Explicit(ALL[:, :1]), score="logit", targets=own)["logit"]
    expected = logits_with(model, clips, 0, {site: Edit(scale=0.0)})[clips.labels[0]]
    np.testing.assert_allclose(found[0, 0], expected, atol=2e-6)


def test_passes_in_sixteen_bits_are_close_and_scored_in_float32(model, clips, support):
    gates = np.random.default_rng(0).integers(0, 2, (4, 8)).astype(np.float32)
    exact = scores(model, clips, support, gates, score="logit")["logit"]
    half = scores(model, clips, support, gates, score="logit", dtype="bfloat16")["logit"]
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, exact, atol=0.03 * np.abs(exact).max())
    with pytest.raises(InputError, match="unknown dtype 'float16'"):
        scores(model, clips, support, gates, score="logit", dtype="float16")


def test_parameters_stay_arguments(model, clips, support):
    """Other weights of the same shapes need no other compilation."""
    from vtcd_jax.ablation.masked_pass import run_block

    gates = np.ones((2, 8), np.float32)
    scores(model, clips, support, gates, score="logit")
    before = run_block._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    other = dataclasses.replace(model, params=jax.tree.map(lambda a: a * 0.5, model.params))
    scores(other, clips, support, gates, score="logit")
    assert run_block._cache_size() == before  # pyright: ignore[reportAttributeAccessIssue]
