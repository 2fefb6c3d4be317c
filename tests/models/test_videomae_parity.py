"""VideoMAE computes what the published code computes: at every stored tap, output and intervention, in float32."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models import Inputs, Model
from vtcd_jax.models.videomae import reconstruction_target

from .reference import (
    EXACT,
    ablation_edits,
    block_sites,
    channels_last,
    heads_first,
    load_reference,
    relative_error,
    tokens,
    volume,
)

forward = jax.jit(models.forward, static_argnames="capture")
PARTS = ("attn/query", "attn/key", "attn/value", "attn/mixed", "resid_post")
CASES = ("keys", "values", "queries", "keys_multi", "head_removed")


@pytest.fixture(scope="module")
def classifier(golden, tmp_path_factory):
    return load_reference(golden, "videomae_ft", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def autoencoder(golden, tmp_path_factory):
    return load_reference(golden, "videomae_pretrain", tmp_path_factory.mktemp("models"))


def masked_forward(model: Model, video, mask, wanted):
    """Compiled for one tube mask, whose count of visible tokens is then known."""
    return jax.jit(lambda m, v: models.forward(m, Inputs(v, token_mask=mask), capture=wanted))(model, video)


def check_blocks(seen, arrays, depth: int, prefix: str = "", golden_prefix: str = "", layers=None) -> None:
    """Every block's taps; the first site that diverges is named."""
    names = {"attn/query": "q", "attn/key": "k", "attn/value": "v"}
    for i in range(depth):
        for part in PARTS:
            ours = seen[f"{prefix}block_{i}/{part}"]
            if part in names:
                key, value = f"{golden_prefix}{names[part]}.{i}", heads_first(ours)
            else:
                stem = "attn_preproj" if part == "attn/mixed" else "block_out"
                key, value = f"{golden_prefix}{stem}.{i}", tokens(ours.reshape(*ours.shape[:4], -1))
            if key in arrays:
                error = relative_error(value, arrays[key])
                assert error <= EXACT, f"{prefix}block_{i}/{part} diverges first: {error:.2e}"


def test_classifier_equals_the_reference_at_every_tap(classifier):
    model, arrays, settings = classifier
    wanted = ("embed", "pooled", "norm", *block_sites(settings["depth"], PARTS))
    output, seen = forward(model, Inputs(channels_last(arrays["video"])), capture=wanted)
    assert relative_error(tokens(seen["embed"]), arrays["embed_out"]) <= EXACT
    check_blocks(seen, arrays, settings["depth"])
    assert relative_error(seen["pooled"], arrays["pooled"]) <= EXACT
    assert relative_error(seen["norm"], arrays["pooled_norm"]) <= EXACT
    assert relative_error(output.logits, arrays["logits"]) <= EXACT


@pytest.mark.parametrize(
    "kind, name, scale", [("key", "keys", 1), ("value", "values", 1), ("query", "queries", 16**-0.5)]
)
def test_feature_volumes_are_what_concepts_are_made_of(classifier, kind, name, scale):
    """The released queries are scaled by 1/sqrt(channel); ours are unscaled everywhere."""
    model, arrays, settings = classifier
    wanted = block_sites(settings["depth"], (f"attn/{kind}",))
    _, seen = forward(model, Inputs(channels_last(arrays["video"])[:1]), capture=wanted)
    for i, site in enumerate(wanted):
        assert relative_error(volume(seen[site]) * scale, arrays[f"vtcd_{name}.{i}"]) <= EXACT, site


@pytest.mark.parametrize("case", CASES)
def test_classifier_interventions(classifier, case):
    model, arrays, settings = classifier
    edits = ablation_edits(settings, arrays, case, "", settings["num_heads"])
    output, _ = forward(model, Inputs(channels_last(arrays["video"])[:1]), edits=edits)
    assert relative_error(output.logits, arrays[f"abl_{case}.logits"]) <= EXACT


def test_autoencoder_without_hidden_tokens(autoencoder):
    model, arrays, settings = autoencoder
    encoder = block_sites(settings["depth"], PARTS, "encoder/")
    decoder = block_sites(settings["decoder_depth"], PARTS, "decoder/")
    wanted = ("encoder/embed", "encoder/norm", "decoder/embed", *encoder, *decoder)
    output, seen = forward(model, Inputs(channels_last(arrays["video"])), capture=wanted)
    assert relative_error(tokens(seen["encoder/embed"]), arrays["nomask.enc_embed_out"]) <= EXACT
    check_blocks(seen, arrays, settings["depth"], "encoder/", "nomask.enc_")
    assert relative_error(tokens(seen["encoder/norm"]), arrays["nomask.enc_norm_out"]) <= EXACT
    assert relative_error(tokens(seen["decoder/embed"]), arrays["nomask.dec_embed_out"]) <= EXACT
    check_blocks(seen, arrays, settings["decoder_depth"], "decoder/", "nomask.dec_")
    assert relative_error(tokens(output.patches), arrays["nomask.pred"]) <= EXACT


def test_autoencoder_with_a_tube_mask(autoencoder):
    """The reference decodes visible tokens first, then hidden ones; ours stays in grid order."""
    model, arrays, settings = autoencoder
    hidden = arrays["tube_mask"][0]
    order = np.concatenate([np.flatnonzero(~hidden), np.flatnonzero(hidden)])
    wanted = ("encoder/embed", "encoder/norm", "decoder/embed")
    wanted += block_sites(settings["depth"], ("resid_post",), "encoder/")
    wanted += block_sites(settings["decoder_depth"], ("resid_post",), "decoder/")
    mask = arrays["tube_mask"].reshape(1, *model.config.grid)
    output, seen = masked_forward(model, channels_last(arrays["video"]), mask, wanted)
    assert seen["encoder/embed"].shape[1:4] == (4, 1, 4)
    assert relative_error(tokens(seen["encoder/embed"]), arrays["tube.enc_embed_out"]) <= EXACT
    for i in range(settings["depth"]):
        site = f"encoder/block_{i}/resid_post"
        assert relative_error(tokens(seen[site]), arrays[f"tube.enc_block_out.{i}"]) <= EXACT, site
    assert relative_error(tokens(seen["encoder/norm"]), arrays["tube.enc_norm_out"]) <= EXACT
    assert relative_error(tokens(seen["decoder/embed"])[:, order], arrays["tube.dec_embed_out"]) <= EXACT
    for i in range(settings["decoder_depth"]):
        site = f"decoder/block_{i}/resid_post"
        assert relative_error(tokens(seen[site])[:, order], arrays[f"tube.dec_block_out.{i}"]) <= EXACT, site
    assert relative_error(tokens(output.patches)[:, hidden], arrays["tube.pred"]) <= EXACT


def test_reconstruction_target_and_losses(autoencoder):
    model, arrays, _ = autoencoder
    target = tokens(reconstruction_target(channels_last(arrays["raw_video"]), model.config))
    assert relative_error(target, arrays["pixel_target"]) <= EXACT
    output, _ = forward(model, Inputs(channels_last(arrays["video"])))
    loss = np.mean((tokens(output.patches) - target) ** 2)
    np.testing.assert_allclose(loss, arrays["nomask.mse_loss"][0], rtol=EXACT)


@pytest.mark.parametrize("case", CASES)
def test_autoencoder_interventions(autoencoder, case):
    model, arrays, settings = autoencoder
    edits = ablation_edits(settings, arrays, case, "encoder/", settings["num_heads"])
    output, _ = forward(model, Inputs(channels_last(arrays["video"])), edits=edits)
    patches = tokens(output.patches)
    if f"abl_{case}.pred" in arrays:
        assert relative_error(patches, arrays[f"abl_{case}.pred"]) <= EXACT
    if (head := arrays.get(f"abl_{case}.pred_head")) is not None:
        every = [
            n // m for n, m in zip(patches.shape, head.shape, strict=True)
        ]  # stored at every 4th token, 16th pixel
        assert relative_error(patches[:, :: every[1], :: every[2]], head) <= EXACT
    loss = np.mean((patches - arrays["pixel_target"]) ** 2)
    np.testing.assert_allclose(loss, arrays[f"abl_{case}.mse_loss"][0], rtol=EXACT)


def hidden_states(model: Model, arrays, depth: int, prefix: str = ""):
    wanted = (f"{prefix}embed", *block_sites(depth, ("resid_post",), prefix))
    output, seen = forward(model, Inputs(arrays), capture=wanted)
    return output, [tokens(seen[site]) for site in wanted]


def test_hugging_face_classifier_at_hidden_states_and_output(golden, tmp_path):
    model, arrays, settings = load_reference(golden, "hf_videomae_cls", tmp_path)
    depth = settings["config"]["num_hidden_layers"]
    output, states = hidden_states(model, np.moveaxis(arrays["pixel_values"], 2, -1), depth)
    for i, state in enumerate(states):
        assert relative_error(state, arrays[f"hidden_states.{i}"]) <= EXACT, i
    assert relative_error(output.logits, arrays["logits"]) <= EXACT


def test_hugging_face_autoencoder_under_its_mask(golden, tmp_path):
    """Hidden states of the visible tokens, predictions of the hidden ones, and the loss."""
    model, arrays, settings = load_reference(golden, "hf_videomae_pretrain", tmp_path)
    depth = settings["config"]["num_hidden_layers"]
    hidden = arrays["bool_masked_pos"]
    mask = hidden.reshape(-1, *model.config.grid)
    wanted = ("encoder/embed", *block_sites(depth, ("resid_post",), "encoder/"))
    output, seen = masked_forward(model, np.moveaxis(arrays["pixel_values"], 2, -1), mask, wanted)
    for i, site in enumerate(wanted):
        assert relative_error(tokens(seen[site]), arrays[f"hidden_states.{i}"]) <= EXACT, site
    patches = tokens(output.patches)
    got = np.stack([clip[mask] for clip, mask in zip(patches, hidden, strict=True)])
    assert relative_error(got, arrays["logits"]) <= EXACT
