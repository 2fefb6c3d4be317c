"""Errors of InternVideo-MM against its reference: quantity -> largest difference over largest magnitude, in order of
depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.models.families.clip_reference import (
    PARTS,
    Errors,
    blocks,
    by_frame,
    every_head_kept,
    forward,
    text_blocks,
    with_class_tokens,
)
from tests.models.reference import ablation_edits, block_sites, channels_last, load_reference, relative_error, volume
from vtcd_jax import models
from vtcd_jax.models import Inputs, Model

CASES = ("keys", "values", "queries", "keys_halfrate_mask", "keys_multi")


def one_video(golden: Path, tmp_path: Path) -> Errors:
    """All frames as one video: every tap, the extractors, features and logits."""
    model, arrays, settings = load_reference(golden, "internvideo_mm", tmp_path)
    depth, extractors = settings["depth"], range(1, 1 + len(settings["return_list"]))
    wanted = with_class_tokens(("embed", *block_sites(depth, PARTS), *(f"extractor_{j}/memory" for j in extractors)))
    wanted += block_sites(settings["text_layers"], ("resid_post",), "text/")
    wanted += tuple(f"extractor_{j}/resid_post_cls" for j in extractors) + ("video_cls", "pooled")
    inputs = Inputs(channels_last(arrays["video"]), text=arrays["text"])
    output, seen = forward(model, inputs, capture=wanted)
    yield "embed", relative_error(by_frame(seen, "embed").swapaxes(0, 1), arrays["embed_out"])
    yield from blocks(seen, arrays, depth, by_frame)
    for j in extractors:
        memory = by_frame(seen, f"extractor_{j}/memory").reshape(settings["batch"], -1, settings["width"])
        yield f"extractor_{j}/memory", relative_error(memory, arrays[f"decoder_mem.{j - 1}"])
        token = np.asarray(seen[f"extractor_{j}/resid_post_cls"])[:, 0, 0]
        yield f"extractor_{j}/resid_post_cls", relative_error(token, arrays[f"decoder_cls.{j - 1}"])
    yield "video_cls", relative_error(np.asarray(seen["video_cls"])[:, 0, 0], arrays["visual_feat"])
    yield "pooled", relative_error(seen["pooled"], arrays["video_features"])
    yield from text_blocks(seen, arrays, settings["text_layers"])
    yield "video features", relative_error(output.video_features, arrays["video_features"])
    yield "text features", relative_error(output.text_features, arrays["text_features"])
    yield "logits", relative_error(output.logits, arrays["logits"])


def two_videos(golden: Path, tmp_path: Path) -> Errors:
    """Twice as many frames, cut into two videos, as the released code does: feature volumes and interventions."""
    model, arrays, settings = load_reference(golden, "internvideo_mm", tmp_path)
    model = in_two_parts(model)
    depth, frames = settings["depth"], model.config.num_frames
    inputs = Inputs(channels_last(arrays["video_double_length"]), text=arrays["text"])
    wanted = block_sites(depth, PARTS[:3])
    kept = every_head_kept(model, wanted)
    output, seen = forward(model, inputs, edits=kept, capture=wanted)
    for i in range(depth):
        for kind, name in (("key", "keys"), ("value", "values"), ("query", "queries")):
            expected = arrays[f"vtcd_{name}.{i}"]
            scale = expected.shape[1] ** -0.5 if kind == "query" else 1.0  # the released queries are scaled
            got = volume(seen[f"block_{i}/attn/{kind}"]) * scale
            yield f"{name} of block {i}", relative_error(got, expected)
    yield "video features", relative_error(output.video_features, arrays["video_features_double_length"])
    yield "logits", relative_error(output.logits, arrays["logits_double_length"])
    masks = {name: lengthened(mask, frames) for name, mask in arrays.items() if name.startswith("keep_mask")}
    for case in CASES:
        edits = ablation_edits(settings, arrays | masks, case, "", settings["num_heads"])
        output, _ = forward(model, inputs, edits=edits)
        yield (
            f"{case} masked, video features",
            relative_error(output.video_features, arrays[f"abl_{case}.video_features"]),
        )
        yield f"{case} masked, logits", relative_error(output.logits, arrays[f"abl_{case}.logits"])


REFERENCES: dict[str, Callable[[Path, Path], Errors]] = {"one video": one_video, "two videos": two_videos}


def in_two_parts(model: Model) -> Model:
    """The same parameters for twice as many frames, as two videos."""
    config = dataclasses.replace(model.config, num_frames=2 * model.config.num_frames, pseudo_clips=2)
    return models.build(config, params=model.params)


def lengthened(mask: np.ndarray, frames: int) -> np.ndarray:
    """A mask [time, height, width] with ``frames`` time steps, each the nearest of its own."""
    return mask[np.arange(frames) * len(mask) // frames]
