"""Reference networks: golden weights through the converter, golden taps in our layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtcd_jax import models
from vtcd_jax.converters import convert
from vtcd_jax.models import Edit, Model

# Stated by the references themselves: their float32 lies this close to float64, so 1e-5 is a fair demand.
EXACT = 1e-5


def load_reference(golden: Path, name: str, tmp_path: Path) -> tuple[Model, dict[str, np.ndarray], dict]:
    """(converted model, golden arrays, golden settings) of a tiny reference network."""
    source = golden / "models" / f"{name}_tiny.safetensors"
    settings = json.loads(source.with_suffix(".json").read_text())
    convert(source, tmp_path / name, config=source.with_suffix(".json"), sanity=False)
    with np.load(golden / "models" / f"{name}_tiny_io.npz") as arrays:
        return models.load(tmp_path / name), dict(arrays), settings


class Error(float):
    """Largest difference over largest magnitude.  absolute: the largest difference itself."""

    absolute: float


def relative_error(got: np.ndarray, expected: np.ndarray) -> Error:
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{got.shape} against {expected.shape}"
    largest = float(np.abs(got - expected).max())
    error = Error(largest / np.abs(expected).max())
    error.absolute = largest
    return error


def channels_last(video: np.ndarray) -> np.ndarray:
    """[batch, colour, time, height, width] -> [batch, time, height, width, colour]."""
    return np.ascontiguousarray(video.transpose(0, 2, 3, 4, 1))


def tokens(stream: np.ndarray) -> np.ndarray:
    """Our stream [batch, t, h, w, channel] -> [batch, token, channel]."""
    return np.asarray(stream).reshape(len(stream), -1, stream.shape[-1])


def heads_first(value: np.ndarray) -> np.ndarray:
    """Our per-head site [batch, t, h, w, head, channel] -> [batch, head, token, channel]."""
    value = np.asarray(value)
    return value.reshape(len(value), -1, *value.shape[-2:]).transpose(0, 2, 1, 3)


def volume(value: np.ndarray) -> np.ndarray:
    """Our per-head site -> the feature volume of the reference [batch, channel, head, t, h, w]."""
    return np.asarray(value).transpose(0, 5, 4, 1, 2, 3)


def ablation_edits(
    settings: dict, arrays: dict[str, np.ndarray], case: str, prefix: str, heads: int
) -> dict[str, Edit]:
    """The edits of one intervention of the golden settings, for batch element 0."""
    scales: dict[str, np.ndarray] = {}

    def multiply(layer: int, kind: str, head: int, keep: np.ndarray | float) -> None:
        grid = arrays["keep_mask.0"].shape
        site = f"{prefix}block_{layer}/attn/{kind}"
        scale = scales.setdefault(site, np.ones((1, *grid, heads, 1), np.float32))
        scale[0, ..., head, 0] *= keep

    for change in settings["ablations"][case]:
        if "heads_to_remove" in change:
            for head in change["heads_to_remove"]:
                for kind in ("query", "key", "value"):
                    multiply(change["layer"], kind, head, 0.0)
        else:
            kind = {"keys": "key", "values": "value", "queries": "query"}[change["cluster_subject"]]
            for head, mask in zip(change["heads"], change["masks"], strict=True):
                multiply(change["layer"], kind, head, arrays[f"keep_mask.{mask}"].astype(np.float32))
    return {site: Edit(scale=scale) for site, scale in scales.items()}


def block_sites(depth: int, names: Sequence[str], prefix: str = "") -> tuple[str, ...]:
    return tuple(f"{prefix}block_{i}/{name}" for i in range(depth) for name in names)
