"""Errors of TimeSformer against its references: quantity -> largest difference over largest magnitude.

In order of depth: the first entry that is large is where the computation diverges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np

from tests.models.reference import block_sites, load_reference, relative_error
from vtcd_jax import models
from vtcd_jax.models import Inputs, Model

Errors = Iterator[tuple[str, float]]
forward = jax.jit(models.forward, static_argnames="capture")


def class_first(seen: dict[str, jax.Array], site: str) -> np.ndarray:
    """A stream as the originals hold it: [batch, 1 + token, channel], class token, then (h, w, t), time fastest."""
    on_grid = np.asarray(seen[site])
    rest = on_grid.transpose(0, 2, 3, 1, 4).reshape(len(on_grid), -1, on_grid.shape[-1])
    return np.concatenate([np.asarray(seen[f"{site}_cls"])[:, 0], rest], axis=1)


def weights(query: jax.Array, key: jax.Array) -> np.ndarray:
    """Attention [sequence, head, token, token] of [sequence, token, head, channel]."""
    logits = np.einsum("sqhc,skhc->shqk", query, key) / np.sqrt(query.shape[-1])
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def hidden_states(model: Model, arrays: dict[str, np.ndarray], layout: Callable = class_first) -> Errors:
    """Hugging Face's: the embeddings, the blocks' outputs, weights of the attention over space if stored, logits."""
    stages = ("embed", *block_sites(model.config.depth, ("resid_post",)))
    parts = block_sites(model.config.depth, ("space_attn/query", "space_attn/key")) if "attentions.0" in arrays else ()
    capture = tuple(name + end for name in (*stages, *parts) for end in ("", "_cls"))
    output, seen = forward(model, Inputs(np.moveaxis(arrays["pixel_values"], 2, -1)), capture=capture)
    for i, name in enumerate(stages):
        yield name, relative_error(layout(seen, name), arrays[f"hidden_states.{i}"])
    for i in range(len(parts) // 2):
        query, key = (frames(seen, f"block_{i}/space_attn/{part}") for part in ("query", "key"))
        yield f"weights of block {i}", relative_error(weights(query, key), arrays[f"attentions.{i}"])
    yield "logits", relative_error(output.logits, arrays["logits"])


def hugging_face(golden: Path, tmp_path: Path) -> Errors:
    """Divided attention in Hugging Face's layout."""
    model, arrays, _ = load_reference(golden, "hf_timesformer", tmp_path)
    yield from hidden_states(model, arrays)


def frames(seen: dict[str, jax.Array], site: str) -> np.ndarray:
    """A per-head site as one sequence per frame: [batch * time, 1 + h * w, head, channel], class token first."""
    on_grid = np.asarray(seen[site])
    batch, time, _, _, heads, channels = on_grid.shape
    rest = on_grid.reshape(batch, time, -1, heads, channels)
    return np.concatenate([np.asarray(seen[f"{site}_cls"]), rest], axis=2).reshape(batch * time, -1, heads, channels)


REFERENCES: dict[str, Callable[[Path, Path], Errors]] = {"classifier, Hugging Face": hugging_face}
