"""What a user writes, with the types that they rely on. Only read by pyright (``test_user_file.py``), never run."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np

import vtcd_jax as vtcd
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.importance import Importance
from vtcd_jax.models import Edit, Inputs, Model, Output


def look(folder: Path) -> list[str]:
    """Load, read, discover, rank."""
    model = vtcd.models.load(folder)
    assert_type(model, Model)
    clips = vtcd.data.read_clips([folder / "a.mp4"], model)
    assert_type(clips, Clips)
    concepts = vtcd.concepts.discover(model, clips, key=jax.random.key(0))
    assert_type(concepts, Concepts)
    ranking = vtcd.importance.cris(model, clips, concepts, masks=128, key=jax.random.key(1))
    assert_type(ranking, Importance)
    return [concepts.names[i] for i in ranking.order()[:5]]


def read_and_edit(model: Model, clips: Clips, sites: tuple[str, ...]) -> jax.Array | None:
    """Values of sites, and the prediction without one."""
    inputs = Inputs(jnp.asarray(model.preprocessing.normalise(clips.video)))
    output, seen = vtcd.models.forward(model, inputs, capture=sites)
    assert_type(output, Output)
    assert_type(seen, dict[str, jax.Array])
    edited, _ = vtcd.models.forward(model, inputs, edits={sites[0]: Edit(scale=0.0)})
    return edited.logits


def own_arrays(features: np.ndarray) -> None:
    """The science on plain arrays."""
    vtcd.concepts.slic(features, n_segments=8, compactness=0.1)
    vtcd.concepts.convex_nmf(features.reshape(-1, features.shape[-1]), 3, key=jax.random.key(0))


version: str = vtcd.__version__
shipped = vtcd.models.names()
world = vtcd.world.clips(4, seed=0, split="held-out")
