"""Conversions of the golden checkpoints, in one line."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from vtcd_jax.converters import convert

NAMES = ("videomae_ft", "videomae_pretrain", "hf_videomae_cls", "hf_videomae_pretrain")
SIZES = {"num_heads": 3, "image_size": 32, "num_frames": 8}


def source(golden: Path, name: str) -> Path:
    return golden / "models" / f"{name}_tiny.safetensors"


def settings(golden: Path, name: str) -> Path:
    return source(golden, name).with_suffix(".json")


def params(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "params.safetensors")


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# What is under test is the same without a pass through every network.
convert_only = functools.partial(convert, sanity=False)
