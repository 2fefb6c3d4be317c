"""A network in words, and the hash that tells it from others whatever its name."""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from .registry import family_of
from .types import Model


def describe(model: Model) -> str:
    """One line on a network: family, sizes, number of parameters."""
    config, clip = model.config, model.preprocessing
    parts = [family_of(model).title or getattr(config, "family", model.name)]
    sizes = (("width", "width {}"), ("depth", "depth {}"), ("num_heads", "{} heads"))
    parts += [text.format(getattr(config, name)) for name, text in sizes if hasattr(config, name)]
    parts.append(f"{clip.num_frames} × {clip.height} × {clip.width} clips")
    if hasattr(config, "tubelet_size") and hasattr(config, "patch_size"):
        parts.append(f"patches of {config.tubelet_size} × {config.patch_size} × {config.patch_size}")
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(model.params))
    parts.append(f"{count / 1e6:.3g} M parameters")
    return " · ".join(parts)


def fingerprint(model: Model) -> str:
    """SHA-256 (hex) of a network's sizes, preprocessing, weights and text features of its labels."""
    digest = hashlib.sha256(repr((model.config, model.preprocessing)).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path((model.params, model.prompts)):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype.name}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
