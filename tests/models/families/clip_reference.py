"""Errors of CLIP against its reference: quantity -> largest difference over largest magnitude, in order of depth.

Also what the references of CLIP's descendants share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from tests.models.reference import block_sites, load_reference, relative_error
from vtcd_jax import models
from vtcd_jax.models import Edit, Inputs, Model

Errors = Iterator[tuple[str, float]]
forward = jax.jit(models.forward, static_argnames="capture")
PARTS = ("attn/query", "attn/key", "attn/value", "attn/mixed", "resid_post")
STORED = dict(zip(PARTS, ("q", "k", "v", "attn_preproj", "block_out"), strict=True))


def hugging_face(golden: Path, tmp_path: Path) -> Errors:
    """Hugging Face layout: hidden states of both towers, features at length 1, logits either way round."""
    model, arrays, _ = load_reference(golden, "hf_clip", tmp_path)
    image = np.moveaxis(arrays["pixel_values"], 1, -1)[:, None]
    images = ("embed", *block_sites(model.config.depth, ("resid_post",)))
    texts = ("text/embed", *block_sites(model.config.text_depth, ("resid_post",), "text/"))
    wanted = with_class_tokens((*images, "norm")) + (*texts, "text/norm")
    output, seen = forward(model, Inputs(image, text=arrays["input_ids"]), capture=wanted)
    for i, site in enumerate(images):
        yield site, relative_error(by_frame(seen, site), arrays[f"vision_hidden_states.{i}"])
    yield "norm", relative_error(np.asarray(seen["norm_cls"])[:, 0, 0], arrays["vision_pooled"])
    yield "video features", relative_error(output.video_features, arrays["image_embeds"])
    said = arrays["attention_mask"].astype(bool)  # tokens that fill up are hidden there; here they just come later
    for i, site in enumerate(texts):
        yield site, relative_error(sentences(seen, site)[said], arrays[f"text_hidden_states.{i}"][said])
    end = np.argmax(arrays["input_ids"] == model.config.end_token, 1)
    yield "text/norm", relative_error(sentences(seen, "text/norm")[np.arange(len(end)), end], arrays["text_pooled"])
    yield "text features", relative_error(at_length_1(output.text_features), arrays["text_embeds"])
    yield "logits", relative_error(output.logits, arrays["logits_per_image"])
    yield "logits by text", relative_error(np.asarray(output.logits).T, arrays["logits_per_text"])


REFERENCES: dict[str, Callable[[Path, Path], Errors]] = {"Hugging Face": hugging_face}


def with_class_tokens(sites: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for site in sites for name in (site, f"{site}_cls"))


def by_frame(seen: dict, site: str) -> np.ndarray:
    """Class token and patches of each frame: [batch * time, 1 + patch, …]."""
    patches = np.asarray(seen[site])
    batch, time, height, width, *rest = patches.shape
    special = np.asarray(seen[f"{site}_cls"]).reshape(batch * time, 1, *rest)
    return np.concatenate([special, patches.reshape(batch * time, height * width, *rest)], 1)


def sentences(seen: dict, site: str) -> np.ndarray:
    """[text, token, 1, 1, channel] -> [text, token, channel]."""
    return np.asarray(seen[site])[:, :, 0, 0]


def every_head_kept(model: Model, sites: Sequence[str]) -> dict[str, Edit]:
    """Edits that change nothing. Beside them all interventions have one structure, and are compiled once."""
    shape = (1, *model.config.grid, model.config.num_heads, 1)
    return {site: Edit(scale=np.ones(shape, np.float32)) for site in sites}


def at_length_1(features: np.ndarray) -> np.ndarray:
    return np.asarray(features) / np.linalg.norm(features, axis=-1, keepdims=True)


def blocks(seen: dict, arrays: dict[str, np.ndarray], depth: int, ordered: Callable[[dict, str], np.ndarray]) -> Errors:
    """Every stored tap of the image tower's blocks. ordered: a site's tokens [sequence, token, …] in the reference's
    order."""
    for site in block_sites(depth, PARTS):
        block, part = site.split("/", 1)
        got = ordered(seen, site)
        per_head = part in ("attn/query", "attn/key", "attn/value")
        got = got.swapaxes(1, 2) if per_head else got.reshape(*got.shape[:2], -1)
        yield site, relative_error(got, arrays[f"{STORED[part]}.{block.removeprefix('block_')}"])


def text_blocks(seen: dict, arrays: dict[str, np.ndarray], depth: int) -> Errors:
    for i, site in enumerate(block_sites(depth, ("resid_post",), "text/")):
        yield site, relative_error(sentences(seen, site), arrays[f"text_block_out.{i}"])
