"""What CLIP, InternVideo-MM and ViCLIP promise beside what every network promises."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models import Edit, Inputs, Model
from vtcd_jax.models.families import clip, internvideo, viclip
from vtcd_jax.models.language.text import unit

pytestmark = pytest.mark.compile

forward = jax.jit(models.forward, static_argnames="capture")
SIZES = {"image_size": 16, "patch_size": 8, "num_frames": 4, "width": 24, "depth": 2, "num_heads": 2}
TEXT = {
    "embed_dim": 12, "context_length": 6, "vocab_size": 20, "end_token": 19, "text_width": 16, "text_depth": 1,
    "text_num_heads": 2,
}  # fmt: skip
CONFIGS = {
    "clip": clip.CLIPConfig(**SIZES, **TEXT),
    "internvideo-mm": internvideo.InternVideoConfig(extractor_blocks=(0, 1), **SIZES, **TEXT),
    "viclip": viclip.ViCLIPConfig(**SIZES, **TEXT),
}
IDS = np.array([[18, 3, 4, 19, 0, 0], [18, 7, 19, 0, 0, 0]], np.int32)


@functools.cache
def network(family: str) -> Model:
    return models.build(CONFIGS[family], key=jax.random.key(1))


@pytest.fixture(params=sorted(CONFIGS))
def model(request) -> Model:
    return network(request.param)


def video(batch: int = 1, frames: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(batch, frames, 16, 16, 3)).astype(np.float32)


def features(model: Model, clips: np.ndarray) -> np.ndarray:
    return np.asarray(forward(model, Inputs(clips))[0].video_features)


def test_logits_are_scaled_cosines(model):
    output, _ = forward(model, Inputs(video(2), text=IDS))
    cosines = np.asarray(unit(output.video_features) @ unit(output.text_features).T)
    scale = 100.0 if "logit_scale" not in model.params else np.exp(model.params["logit_scale"][0])
    np.testing.assert_allclose(output.logits, scale * cosines, rtol=1e-4, atol=1e-5)
    assert output.logits.shape == (2, 2)


def test_what_follows_the_end_token_has_no_part(model):
    filled = np.where(IDS == 0, 5, IDS)
    got = [forward(model, Inputs(video(), text=ids))[0].text_features for ids in (IDS, filled, IDS[:, :4])]
    np.testing.assert_allclose(got[1], got[0], atol=1e-6)
    np.testing.assert_allclose(got[2], got[0], atol=1e-6)


def test_a_token_does_not_see_those_after_it(model):
    later = IDS.copy()
    later[:, 2] = 9
    site = "text/block_0/resid_post"
    a, b = (np.asarray(forward(model, Inputs(video(), text=ids), capture=(site,))[1][site]) for ids in (IDS, later))
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=1e-6)
    assert np.abs(a[:, 2:] - b[:, 2:]).max() > 1e-2


def test_a_sentence_that_is_too_long_for_the_network_is_refused(model):
    with pytest.raises(ValueError, match="at most 6 tokens"):
        forward(model, Inputs(video(), text=np.zeros((1, 7), np.int32)))


def test_class_tokens_lie_in_sites_of_their_own(model):
    """Removing a class token's value changes the result; the patches' site does not hold it."""
    site, sequences = "block_0/attn/value", 1 if model.config.family == "viclip" else 4
    shapes = models.sites(model)
    assert shapes[site].shape == (1, 4, 2, 2, 2, 12)
    assert shapes[f"{site}_cls"].shape == (1, sequences, 1, 2, 12)
    edited, _ = forward(model, Inputs(video()), edits={f"{site}_cls": Edit(scale=0.0)})
    assert np.abs(edited.video_features - features(model, video())).max() > 1e-4


def test_clip_averages_its_frames_features_at_length_1():
    model = network("clip")
    single = models.build(dataclasses.replace(model.config, num_frames=1), params=model.params)
    frames = features(single, video().swapaxes(0, 1))
    np.testing.assert_allclose(np.linalg.norm(frames, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(features(model, video())[0], frames.mean(0), atol=1e-6)


def test_internvideo_takes_each_part_of_a_clip_for_a_video():
    config, params = CONFIGS["internvideo-mm"], network("internvideo-mm").params
    model = models.build(dataclasses.replace(config, pseudo_clips=2), params=params)
    half = models.build(dataclasses.replace(config, num_frames=2), params=params)
    got = features(model, video(3))
    assert got.shape == (6, 12)  # of each clip its first part, then its second
    np.testing.assert_allclose(got, features(half, video(3).reshape(6, 2, 16, 16, 3)), atol=1e-6)


def test_internvideos_frames_do_not_see_its_extractors():
    model, last = network("internvideo-mm"), "block_1/resid_post"
    edits = {"extractor_1/memory": Edit(scale=0.0), "extractor_1/attn/query_cls": Edit(scale=0.0)}
    (plain, a), (edited, b) = (forward(model, Inputs(video()), edits=e, capture=(last,)) for e in ({}, edits))
    np.testing.assert_array_equal(a[last], b[last])
    assert np.abs(plain.video_features - edited.video_features).max() > 1e-4


def test_the_depthwise_convolution_is_a_convolution_of_each_channel():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    kernel = np.random.default_rng(1).normal(size=(3, 3, 3, 6)).astype(np.float32)
    bias = np.arange(6, dtype=np.float32)
    got = internvideo.DepthwiseConv().apply({"params": {"kernel": kernel, "bias": bias}}, jnp.asarray(x))
    expected = jax.lax.conv_general_dilated(
        x,
        kernel[:, :, :, None],
        (1, 1, 1),
        "SAME",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
        feature_group_count=6,
    )
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected) + bias, atol=1e-5)


def test_viclip_gives_a_single_image_the_mean_time():
    model = network("viclip")
    times = model.params["embedding"]["times"]
    mean = model.params | {"embedding": model.params["embedding"] | {"times": times.mean(0, keepdims=True)}}
    single = models.build(dataclasses.replace(model.config, num_frames=1), params=mean)
    np.testing.assert_allclose(features(model, video(2, 1)), features(single, video(2, 1)), atol=1e-6)


PUBLISHED = {
    "clip B/16": (clip.config("B/16"), 149.6),
    "internvideo-mm B/16": (internvideo.config("B/16"), 178.1),
    "viclip L/14": (viclip.config("L/14"), 427.6),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_the_published_number_of_parameters(name):
    config, millions = PUBLISHED[name]
    leaves = jax.tree.leaves(models.param_shapes(config))
    assert round(sum(int(np.prod(leaf.shape)) for leaf in leaves) / 1e6, 1) == millions
