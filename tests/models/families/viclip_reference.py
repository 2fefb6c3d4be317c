"""Errors of ViCLIP against its reference: quantity -> largest difference over largest magnitude, in order of depth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from tests.models.families.clip_reference import (
    PARTS,
    Errors,
    at_length_1,
    blocks,
    every_head_kept,
    forward,
    text_blocks,
    with_class_tokens,
)
from tests.models.reference import ablation_edits, block_sites, load_reference, relative_error
from vtcd_jax.models import Inputs

CASES = ("keys", "values", "queries")


def original(golden: Path, tmp_path: Path) -> Errors:
    """Original layout: every tap, features of clips, of images and of sentences, predicted labels, interventions."""
    model, arrays, settings = load_reference(golden, "viclip", tmp_path)
    video, text = np.moveaxis(arrays["video"], 2, -1), arrays["text"]
    wanted = with_class_tokens(("embed", *block_sites(settings["depth"], PARTS), "norm"))
    wanted += block_sites(settings["text_layers"], ("resid_post",), "text/")
    output, seen = forward(model, Inputs(video, text=text), capture=wanted)
    yield "embed", relative_error(time_fastest(seen, "embed"), arrays["embed_out"])
    yield from blocks(seen, arrays, settings["depth"], time_fastest)
    yield "norm", relative_error(time_fastest(seen, "norm"), arrays["ln_post_out"])
    yield from text_blocks(seen, arrays, settings["text_layers"])
    features = output.video_features
    yield "video features", relative_error(features, arrays["video_features"])
    yield "video features at length 1", relative_error(at_length_1(features), arrays["video_features_normalized"])
    yield "text features", relative_error(output.text_features, arrays["text_features"])
    yield "cosines", relative_error(np.asarray(output.logits) / 100, arrays["sims"])
    probabilities, labels = jax.lax.top_k(jax.nn.softmax(output.logits), 2)
    yield "probabilities", relative_error(probabilities, arrays["top_probs"])
    yield "labels", relative_error(np.asarray(labels) + 1, arrays["top_labels"] + 1)
    image = np.moveaxis(arrays["image"], 1, -1)[:, None]
    yield "image features", relative_error(forward(model, Inputs(image))[0].video_features, arrays["image_features"])
    kept = every_head_kept(model, block_sites(settings["depth"], PARTS[:3]))
    for case in CASES:
        edits = ablation_edits(settings, arrays, case, "", settings["num_heads"])
        output, _ = forward(model, Inputs(video[:1]), edits=kept | edits)
        yield f"{case} masked", relative_error(output.video_features, arrays[f"abl_{case}.video_features"])


REFERENCES: dict[str, Callable[[Path, Path], Errors]] = {"original": original}


def time_fastest(seen: dict, site: str) -> np.ndarray:
    """Class token and patches in the reference's order (height, width, time): [batch, 1 + patch, …]."""
    patches = np.asarray(seen[site])
    batch, time, height, width, *rest = patches.shape
    patches = np.moveaxis(patches, 1, 3).reshape(batch, height * width * time, *rest)
    return np.concatenate([np.asarray(seen[f"{site}_cls"])[:, 0], patches], 1)
