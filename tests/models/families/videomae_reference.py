"""Errors of VideoMAE against its references: quantity -> largest difference over largest magnitude, in order of depth.

The first entry that is large is where the computation diverges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from tests.models.reference import (
    ablation_edits,
    block_sites,
    channels_last,
    heads_first,
    load_reference,
    relative_error,
    tokens,
    volume,
)
from vtcd_jax import models
from vtcd_jax.models import Inputs, Model
from vtcd_jax.models.families.videomae import reconstruction_target

Errors = Iterator[tuple[str, float]]
forward = jax.jit(models.forward, static_argnames="capture")
PARTS = ("attn/query", "attn/key", "attn/value", "attn/mixed", "resid_post")
STORED = dict(zip(PARTS, ("q", "k", "v", "attn_preproj", "block_out"), strict=True))
CASES = ("keys", "values", "queries", "keys_multi", "head_removed")


def classifier(golden: Path, tmp_path: Path) -> Errors:
    """Original layout: every tap, feature volume, output and intervention."""
    model, arrays, settings = load_reference(golden, "videomae_ft", tmp_path)
    depth = settings["depth"]
    wanted = ("embed", *block_sites(depth, PARTS), "pooled", "norm")
    output, seen = forward(model, Inputs(channels_last(arrays["video"])), capture=wanted)
    yield "embed", relative_error(tokens(seen["embed"]), arrays["embed_out"])
    yield from blocks(seen, arrays, depth)
    yield "pooled", relative_error(seen["pooled"], arrays["pooled"])
    yield "norm", relative_error(seen["norm"], arrays["pooled_norm"])
    yield "logits", relative_error(output.logits, arrays["logits"])
    yield from volumes(seen, arrays, depth)
    for case in CASES:
        edits = ablation_edits(settings, arrays, case, "", settings["num_heads"])
        output, _ = forward(model, Inputs(channels_last(arrays["video"])[:1]), edits=edits)
        yield f"{case} masked", relative_error(output.logits, arrays[f"abl_{case}.logits"])


def autoencoder(golden: Path, tmp_path: Path) -> Errors:
    """Original layout: taps of encoder and decoder with nothing hidden and under a tube mask, target, interventions."""
    model, arrays, settings = load_reference(golden, "videomae_pretrain", tmp_path)
    video, depth, decoder_depth = channels_last(arrays["video"]), settings["depth"], settings["decoder_depth"]
    sites = ("encoder/embed", "encoder/norm", "decoder/embed")
    sites += block_sites(depth, PARTS, "encoder/") + block_sites(decoder_depth, PARTS, "decoder/")
    output, seen = forward(model, Inputs(video), capture=sites)
    yield "encoder/embed", relative_error(tokens(seen["encoder/embed"]), arrays["nomask.enc_embed_out"])
    yield from blocks(seen, arrays, depth, "encoder/", "nomask.enc_")
    yield "encoder/norm", relative_error(tokens(seen["encoder/norm"]), arrays["nomask.enc_norm_out"])
    yield "decoder/embed", relative_error(tokens(seen["decoder/embed"]), arrays["nomask.dec_embed_out"])
    yield from blocks(seen, arrays, decoder_depth, "decoder/", "nomask.dec_")
    yield "patches", relative_error(tokens(output.patches), arrays["nomask.pred"])
    yield from volumes({site.removeprefix("encoder/"): value for site, value in seen.items()}, arrays, depth)
    yield from under_tube_mask(model, arrays, depth, decoder_depth)
    target = tokens(reconstruction_target(channels_last(arrays["raw_video"]), model.config))
    yield "reconstruction target", relative_error(target, arrays["pixel_target"])
    loss = np.mean((tokens(output.patches) - target) ** 2, keepdims=True).reshape(1)
    yield "loss", relative_error(loss, arrays["nomask.mse_loss"])
    for case in CASES:
        edits = ablation_edits(settings, arrays, case, "encoder/", settings["num_heads"])
        patches = tokens(forward(model, Inputs(video), edits=edits)[0].patches)
        for name, got in (("pred", patches), ("pred_head", patches)):
            stored = arrays.get(f"abl_{case}.{name}")
            if stored is not None:  # the second form is stored at every 4th token and 16th pixel
                every = [n // m for n, m in zip(got.shape, stored.shape, strict=True)]
                yield f"{case} masked", relative_error(got[:, :: every[1], :: every[2]], stored)
        loss = np.mean((patches - arrays["pixel_target"]) ** 2, keepdims=True).reshape(1)
        yield f"{case} masked, loss", relative_error(loss, arrays[f"abl_{case}.mse_loss"])


def under_tube_mask(model: Model, arrays: dict[str, np.ndarray], depth: int, decoder_depth: int) -> Errors:
    """The reference decodes visible tokens first, then hidden ones; ours stays in grid order."""
    hidden = arrays["tube_mask"][0]
    order = np.concatenate([np.flatnonzero(~hidden), np.flatnonzero(hidden)])
    encoder = ("encoder/embed", *block_sites(depth, ("resid_post",), "encoder/"), "encoder/norm")
    decoder = ("decoder/embed", *block_sites(decoder_depth, ("resid_post",), "decoder/"))
    mask = arrays["tube_mask"].reshape(1, *model.config.grid)
    output, seen = masked_forward(model, channels_last(arrays["video"]), mask, encoder + decoder)
    stored = ["enc_embed_out", *(f"enc_block_out.{i}" for i in range(depth)), "enc_norm_out"]
    for site, name in zip(encoder, stored, strict=True):
        yield f"{site} under a tube mask", relative_error(tokens(seen[site]), arrays[f"tube.{name}"])
    stored = ["dec_embed_out", *(f"dec_block_out.{i}" for i in range(decoder_depth))]
    for site, name in zip(decoder, stored, strict=True):
        yield f"{site} under a tube mask", relative_error(tokens(seen[site])[:, order], arrays[f"tube.{name}"])
    yield "patches under a tube mask", relative_error(tokens(output.patches)[:, hidden], arrays["tube.pred"])


def hugging_face_classifier(golden: Path, tmp_path: Path) -> Errors:
    """Hugging Face layout: hidden states and logits."""
    model, arrays, settings = load_reference(golden, "hf_videomae_cls", tmp_path)
    wanted = ("embed", *block_sites(settings["config"]["num_hidden_layers"], ("resid_post",)))
    output, seen = forward(model, Inputs(np.moveaxis(arrays["pixel_values"], 2, -1)), capture=wanted)
    for i, site in enumerate(wanted):
        yield site, relative_error(tokens(seen[site]), arrays[f"hidden_states.{i}"])
    yield "logits", relative_error(output.logits, arrays["logits"])


def hugging_face_autoencoder(golden: Path, tmp_path: Path) -> Errors:
    """Hugging Face layout under its mask: hidden states of the visible tokens, predictions of the hidden ones."""
    model, arrays, settings = load_reference(golden, "hf_videomae_pretrain", tmp_path)
    hidden = arrays["bool_masked_pos"]
    wanted = ("embed", *block_sites(settings["config"]["num_hidden_layers"], ("resid_post",)))
    wanted = tuple(f"encoder/{site}" for site in wanted)
    mask = hidden.reshape(-1, *model.config.grid)
    output, seen = masked_forward(model, np.moveaxis(arrays["pixel_values"], 2, -1), mask, wanted)
    for i, site in enumerate(wanted):
        yield site, relative_error(tokens(seen[site]), arrays[f"hidden_states.{i}"])
    got = np.stack([clip[rows] for clip, rows in zip(tokens(output.patches), hidden, strict=True)])
    yield "patches", relative_error(got, arrays["logits"])


REFERENCES: dict[str, Callable[[Path, Path], Errors]] = {
    "classifier, original": classifier,
    "autoencoder, original": autoencoder,
    "classifier, Hugging Face": hugging_face_classifier,
    "autoencoder, Hugging Face": hugging_face_autoencoder,
}


def blocks(seen: dict, arrays: dict[str, np.ndarray], depth: int, prefix: str = "", stored: str = "") -> Errors:
    """Every block's taps, as far as they are stored."""
    for site in block_sites(depth, PARTS):
        part = site.split("/", 1)[1]
        expected = arrays.get(f"{stored}{STORED[part]}.{site.split('/')[0].removeprefix('block_')}")
        if expected is not None:
            value = seen[prefix + site]
            per_head = part in ("attn/query", "attn/key", "attn/value")
            got = heads_first(value) if per_head else tokens(value.reshape(*value.shape[:4], -1))
            yield prefix + site, relative_error(got, expected)


def volumes(seen: dict, arrays: dict[str, np.ndarray], depth: int) -> Errors:
    """Feature volumes of clip 0, of which concepts are made. The released queries are scaled; ours never are."""
    for kind, name in (("key", "keys"), ("value", "values"), ("query", "queries")):
        for i in range(depth):
            expected = arrays[f"vtcd_{name}.{i}"]
            scale = expected.shape[1] ** -0.5 if kind == "query" else 1.0
            yield f"{name} of block {i}", relative_error(volume(seen[f"block_{i}/attn/{kind}"][:1]) * scale, expected)


def masked_forward(model: Model, video: np.ndarray, mask: np.ndarray, wanted: tuple[str, ...]):
    """Compiled for one tube mask, whose count of visible tokens is then known."""
    return jax.jit(lambda m, v: models.forward(m, Inputs(v, token_mask=mask), capture=wanted))(model, video)
