"""From clips on the host to a network's inputs."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from vtcd_jax.data.clips import Clips
from vtcd_jax.models import InputError, Inputs, Model


def clip_inputs(model: Model, clips: Clips, video: int) -> Inputs:
    """One clip as a batch of one, normalised, with its query mask where it has one."""
    pixels = model.preprocessing.normalise(clips.video[video : video + 1])
    query = None if clips.query is None else jnp.asarray(clips.query[video : video + 1], jnp.float32)
    return Inputs(video=jnp.asarray(pixels), query=query)


def seen_clips(model: Model, clips: Clips) -> Clips:
    """The clips without what the network does not look at: a query mask, for all but trackers. It would make them other
    clips (``Clips.hashes``)."""
    return clips if "query" in getattr(model.config, "needs", ()) else dataclasses.replace(clips, query=None)


def check_query(model: Model, clips: Clips) -> None:
    """Raises InputError when a network that follows a query mask has none, or an empty one."""
    if "query" not in getattr(model.config, "needs", ()):
        return
    if clips.query is None:
        raise InputError(
            f"model {model.name!r} follows what a query mask shows in the first frame, and the clips have none; "
            "give one with --query MASK.png (or a folder of them, called like the clips)"
        )
    for name, query in zip(clips.names, clips.query, strict=True):
        if not query.any():
            raise InputError(f"{name}: its query mask is empty; mark the object in the first frame")
