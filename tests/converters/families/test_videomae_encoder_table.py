"""Encoders without a head convert to a network that gives features, whoever's names they are in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.converters.tools import SIZES, assert_same, convert_only, params, source
from tests.converters.torch_writer import read_plain_safetensors, write_torch
from vtcd_jax import models
from vtcd_jax.models import InputError, Inputs
from vtcd_jax.scores.functions import default_scores

pytestmark = pytest.mark.compile

VIDEO = np.random.default_rng(0).normal(size=(1, 8, 32, 32, 3)).astype(np.float32)


def tokens(folder, site):
    """What the whole network of ``folder`` has at ``site`` for the clip, and its parameters."""
    model = models.load(folder)
    return model, models.forward(model, Inputs(VIDEO), capture=(site,))[1][site]


def features(folder, video=VIDEO):
    model = models.load(folder)
    assert model.config.family == "videomae-encoder"
    output = models.forward(model, Inputs(video))[0]
    assert output.logits is None and output.patches is None and output.video_features is not None
    return model, output.video_features


def test_a_classifiers_encoder_gives_what_the_head_would_see(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    path = write_torch(tmp_path / "x.pth", {"model": {k: v for k, v in state.items() if not k.startswith("head.")}})
    assert convert_only(path, tmp_path / "a", config=SIZES).config.last_norm == "pooled"
    convert_only(source(golden, "videomae_ft"), tmp_path / "b", config=SIZES)
    np.testing.assert_array_equal(features(tmp_path / "a")[1], tokens(tmp_path / "b", "norm")[1])


def test_an_autoencoders_encoder_gives_the_mean_of_its_tokens(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_pretrain"))
    path = write_torch(tmp_path / "x.pth", {k: v for k, v in state.items() if k.startswith("encoder.")})
    sizes = SIZES | {"num_frames": 16}
    assert convert_only(path, tmp_path / "a", config=sizes).config.last_norm == "tokens"
    convert_only(source(golden, "videomae_pretrain"), tmp_path / "b", config=sizes | {"decoder_num_heads": 2})
    whole = models.load(tmp_path / "b")
    video = np.random.default_rng(1).normal(size=(1, 16, 32, 32, 3)).astype(np.float32)
    seen = models.forward(whole, Inputs(video), capture=("encoder/norm",))[1]["encoder/norm"]
    np.testing.assert_allclose(features(tmp_path / "a", video)[1], seen.mean((1, 2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "videomae."])
def test_hugging_faces_model_converts_from_its_folder(golden, tmp_path, prefix):
    state = read_plain_safetensors(source(golden, "hf_videomae_pretrain"))
    inner = {prefix + k.removeprefix("videomae."): v for k, v in state.items() if k.startswith("videomae.")}
    (tmp_path / "hub").mkdir()
    save_file(inner, tmp_path / "hub" / "model.safetensors")
    told = json.loads(source(golden, "hf_videomae_pretrain").with_suffix(".json").read_text())["config"]
    told |= {"model_type": "videomae", "architectures": ["VideoMAEModel"], "use_mean_pooling": False}
    (tmp_path / "hub" / "config.json").write_text(json.dumps(told))
    report = convert_only(tmp_path / "hub", tmp_path / "a")
    assert report.family == "videomae-encoder" and report.layout == "Hugging Face names"
    assert report.config.last_norm_eps == report.config.norm_eps == 1e-12
    # The encoder's tensors are those of the whole network.
    convert_only(source(golden, "hf_videomae_pretrain"), tmp_path / "b", config=told)
    whole = {k.removeprefix("encoder/"): v for k, v in params(tmp_path / "b").items() if k.startswith("encoder/")}
    assert_same(params(tmp_path / "a"), whole)


def test_mmaction2s_backbone_is_the_same_encoder(golden, tmp_path):
    state, theirs = read_plain_safetensors(source(golden, "videomae_ft")), {}
    for name, value in state.items():
        for a, b in (("patch_embed.proj", "patch_embed.projection"), ("fc1", "layers.0.0"), ("fc2", "layers.1")):
            name = name.replace(a, b)
        theirs |= {} if name.startswith("head.") else {f"backbone.{name}": value}
    report = convert_only(write_torch(tmp_path / "x.pth", theirs), tmp_path / "a", config=SIZES)
    assert (report.family, report.layout) == ("videomae-encoder", "mmaction2's names")


def test_an_encoder_without_any_last_norm_gives_the_plain_mean(golden, tmp_path):
    state = read_plain_safetensors(source(golden, "videomae_ft"))
    state = {k: v for k, v in state.items() if not k.startswith(("head.", "fc_norm."))}
    assert (
        convert_only(write_torch(tmp_path / "x.pth", state), tmp_path / "a", config=SIZES).config.last_norm == "nowhere"
    )
    model, got = features(tmp_path / "a")
    seen = models.forward(model, Inputs(VIDEO), capture=("block_2/resid_post",))[1]["block_2/resid_post"]
    np.testing.assert_allclose(got, seen.mean((1, 2, 3)), rtol=1e-5, atol=1e-6)


def test_an_encoder_has_no_score_of_its_own_and_says_so(golden, tmp_path):
    model = models.build(models.family("videomae-encoder").config(**SIZES, width=24, depth=1))
    with pytest.raises(InputError, match="has no head, so it gives nothing to score by; train a head with `probes`"):
        default_scores(model)


def test_others_encoders_are_no_videomae(tmp_path):
    state = {
        "embeddings.cls_token": np.ones((1, 1, 8), np.float32),
        "embeddings.patch_embeddings.projection.weight": np.ones((8, 3, 4, 4), np.float32),
        "encoder.layer.0.attention.attention.query.bias": np.ones(8, np.float32),
    }
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="it looks like Hugging Face's ViT"):
        convert_only(tmp_path / "x.safetensors", tmp_path / "a")
