"""Errors of TCOW against its reference: quantity -> largest difference over largest magnitude, in order of depth.

The first entry that is large is where the computation diverges.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file

from tests.models.families.timesformer_reference import class_first, frames
from tests.models.reference import ablation_edits, channels_last, relative_error, volume
from vtcd_jax import models
from vtcd_jax.converters import convert
from vtcd_jax.models import Edit, Inputs, Model

Errors = Iterator[tuple[str, float]]
Arrays = dict[str, np.ndarray]
forward = jax.jit(models.forward, static_argnames="capture")
PARTS = ("query", "key", "value", "mixed")
STORED = dict(zip(PARTS, ("q", "k", "v", "attn_preproj"), strict=True))
CASES = ("keys", "values", "queries", "keys_multi", "head_removed")
BACKBONE_VARIANTS = {
    "causal0": {"causal_attention": 0},
    "causal1": {"causal_attention": 1},
    "causal2": {"causal_attention": 2},
    "causal3": {"causal_attention": 3},
    "causal_m1": {"causal_attention": -1},
    "norm_embeddings": {"norm_embeddings": True},
    "normalize_rgb": {"normalise_rgb": False},
}
MASK_VARIANTS = {
    "stride1": {"mask_stride": 1},
    "nearest": {"mask_upsampling": "nearest"},
    "bilinear": {"mask_upsampling": "bilinear"},
}


def load(golden: Path, tmp_path: Path) -> tuple[Model, Arrays, dict]:
    """(converted model, golden arrays, golden settings)."""
    source = golden / "models" / "tcow_tiny.safetensors"
    settings = json.loads(source.with_suffix(".json").read_text())
    config = {k: v for k, v in settings.items() if k != "variants"}
    convert(source, tmp_path / "tcow", config=config, sanity=False)
    with np.load(golden / "models" / "tcow_tiny_io.npz") as arrays:
        return models.load(tmp_path / "tcow"), dict(arrays), settings


def variant(model: Model, golden: Path, fields: dict) -> Model:
    """The same weights under other settings, with the norm that the file holds where it is applied."""
    params = model.params
    if fields.get("norm_embeddings"):
        state = load_file(golden / "models" / "tcow_tiny.safetensors")
        name = "seeker.tracker_backbone.timesformer.model.norm."
        params = {**params, "norm": {"scale": state[f"{name}weight"], "bias": state[f"{name}bias"]}}
    return models.build(dataclasses.replace(model.config, **fields), params=params)


def inputs(arrays: Arrays, clips: int = 2) -> Inputs:
    query = arrays["query_mask"][:clips, 0].astype(np.float32)
    return Inputs(channels_last(arrays["input_frames"])[:clips], query=query)


def seeker(golden: Path, tmp_path: Path) -> Errors:
    """Every tap, feature volume and output."""
    model, arrays, settings = load(golden, tmp_path)
    depth = settings["depth"]
    sites = tuple(site for site in models.sites(model) if "mlp" not in site)
    output, seen = forward(model, inputs(arrays), capture=sites)
    yield "embed", relative_error(class_first(seen, "embed"), arrays["embed_out"])
    for i in range(depth):
        yield from block(seen, arrays, i)
    yield "backbone", relative_error(channels_first(seen["backbone"]), arrays["backbone_out"])
    yield "masks", relative_error(channels_first(output.masks), arrays["output_mask"])
    yield "flags", relative_error(output.flags, arrays["output_flags"])
    yield from volumes(seen, arrays, depth)


def block(seen: dict, arrays: Arrays, i: int) -> Errors:
    """One block's taps, in order."""
    for part in PARTS:
        site = f"block_{i}/time_attn/{part}"
        yield (
            site,
            relative_error(per_sequence(positions_first(seen[site]), part), arrays[f"temporal_{STORED[part]}.{i}"]),
        )
    added = np.asarray(seen[f"block_{i}/time_attn/out"]).transpose(0, 2, 3, 1, 4)
    expected = arrays[f"temporal_fc_out.{i}"]
    yield f"block_{i}/time_attn/out", relative_error(added.reshape(expected.shape), expected)
    for part in PARTS:
        site = f"block_{i}/space_attn/{part}"
        yield site, relative_error(per_sequence(frames(seen, site), part), arrays[f"spatial_{STORED[part]}.{i}"])
    yield f"block_{i}/resid_post", relative_error(class_first(seen, f"block_{i}/resid_post"), arrays[f"block_out.{i}"])


def positions_first(value: jax.Array) -> np.ndarray:
    """A per-head site as one sequence per position: [batch * h * w, time, head, channel]."""
    moved = np.asarray(value).transpose(0, 2, 3, 1, 4, 5)
    return moved.reshape(-1, *moved.shape[3:])


def per_sequence(value: np.ndarray, part: str) -> np.ndarray:
    """[sequence, token, head, channel] as stored: heads first, or side by side before the output projection."""
    return value.reshape(*value.shape[:2], -1) if part == "mixed" else value.transpose(0, 2, 1, 3)


def channels_first(value: jax.Array) -> np.ndarray:
    """[batch, time, height, width, channel] -> [batch, channel, time, height, width]."""
    return np.moveaxis(np.asarray(value), -1, 1)


def volumes(seen: dict, arrays: Arrays, depth: int) -> Errors:
    """Feature volumes, of which concepts are made."""
    heads = arrays["vtcd_keys.0"].shape[2]
    for i in range(depth):
        yield f"keys of block {i}", relative_error(volume(seen[f"block_{i}/space_attn/key"]), arrays[f"vtcd_keys.{i}"])
    last = depth - 1
    for kind, name in (("value", "values"), ("query", "queries")):
        found = volume(seen[f"block_{last}/space_attn/{kind}"])
        yield f"{name} of block {last}", relative_error(found, arrays[f"vtcd_{name}.{last}"])
    mean = volume(seen[f"block_{last}/space_attn/key"]).mean(2, keepdims=True)
    yield f"mean keys of block {last}", relative_error(mean, arrays[f"vtcd_keys_headmean.{last}"])
    added = np.asarray(seen[f"block_{last}/space_attn/out"])
    split = volume(added.reshape(*added.shape[:4], heads, -1))
    yield f"tokens of block {last}", relative_error(split, arrays[f"vtcd_tokens.{last}"])
    stream = channels_first(seen[f"block_{last}/resid_post"])[:, :, None]
    yield f"stream of block {last}", relative_error(stream, arrays[f"vtcd_block_token.{last}"])


def interventions(golden: Path, tmp_path: Path) -> Errors:
    """Masked keys, values and queries and removed heads of the attention over space."""
    model, arrays, settings = load(golden, tmp_path)
    for case in CASES:
        edits = masked(model, settings, arrays, case)
        output, seen = forward(model, inputs(arrays, 1), edits=edits, capture=("backbone",))
        stored = {"backbone_out": seen["backbone"], "output_mask": output.masks, "output_flags": output.flags}
        for name, got in stored.items():
            got = got if name == "output_flags" else channels_first(got)
            yield f"{name} with {case} masked", relative_error(got, arrays[f"abl_{case}.{name}"])


def masked(model: Model, settings: dict, arrays: Arrays, case: str) -> dict[str, Edit]:
    """One intervention as edits of the same sites in every case; a removed head goes at the class token too."""
    sites = {
        site: s.shape for site, s in models.sites(model).items() if re.search("space_attn/(query|key|value)", site)
    }
    scales = {site: np.ones((*shape[:-1], 1), np.float32) for site, shape in sites.items()}
    for site, edit in ablation_edits(settings, arrays, case, "", settings["num_heads"]).items():
        scales[site.replace("/attn/", "/space_attn/")] *= edit.scale
    for change in settings["ablations"][case]:
        for part in PARTS[:3]:
            scales[f"block_{change['layer']}/space_attn/{part}_cls"][..., change.get("heads_to_remove", []), :] = 0
    return {site: Edit(scale=scale) for site, scale in scales.items()}


def variants(golden: Path, tmp_path: Path) -> Errors:
    """Other settings of causality, norms and the mask head."""
    model, arrays, _ = load(golden, tmp_path)
    for name, fields in (BACKBONE_VARIANTS | MASK_VARIANTS).items():
        # Not compiled as a whole: every variant would be another program, of the same few operations.
        output, seen = models.forward(variant(model, golden, fields), inputs(arrays, 1), capture=("backbone",))
        if name in BACKBONE_VARIANTS:
            expected = arrays[f"variant_{name}.backbone_out"]
            yield f"backbone, {name}", relative_error(channels_first(seen["backbone"]), expected)
        else:
            expected = arrays[f"variant_{name}.output_mask"]
            yield f"masks, {name}", relative_error(channels_first(output.masks), expected)


REFERENCES: dict[str, Callable[[Path, Path], Errors]] = {
    "TCOW": seeker,
    "TCOW, interventions": interventions,
    "TCOW, variants": variants,
}
