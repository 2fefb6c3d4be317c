"""From clips on the host to a network's inputs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from vtcd_jax.devices.precision import cast
from vtcd_jax.models import InputError, Inputs, Model, family_of

from .clips import AnyClips, ClipSource


def clip_inputs(model: Model, clips: ClipSource, video: int) -> Inputs:
    """One clip as a batch of one, normalised, with its query mask where it has one."""
    one = clips.read([video])
    query = None if one.query is None else jnp.asarray(one.query, jnp.float32)
    return Inputs(video=jnp.asarray(model.preprocessing.normalise(one.video)), query=query)


def network_inputs(model: Model, pixels: jax.Array, query: jax.Array | None, dtype: str) -> Inputs:
    """Pixels [batch, …] from 0 to 255 as the network takes them, on the device."""
    p = model.preprocessing
    video = (pixels.astype(jnp.float32) / 255 - jnp.asarray(p.mean, jnp.float32)) / jnp.asarray(p.std, jnp.float32)
    return cast(Inputs(video, query=None if query is None else query.astype(jnp.float32)), dtype)


def seen_clips(model: Model, clips: AnyClips) -> AnyClips:
    """The clips without what the network does not look at: a query mask, for all but trackers. It would make them other
    clips (``Clips.hashes``)."""
    return clips if "query" in family_of(model).needs else clips.with_queries(None)  # type: ignore[return-value]


def check_query(model: Model, clips: ClipSource) -> None:
    """Raises InputError when a network that follows a query mask has none, or an empty one."""
    if "query" not in family_of(model).needs:
        return
    marked = clips.query_sizes
    if marked is None:
        raise InputError(
            f"model {model.name!r} follows what a query mask shows in the first frame, and the clips have none; "
            "give one with --query MASK.png (or a folder of them, called like the clips)"
        )
    for name, size in zip(clips.names, marked, strict=True):
        if not size:
            raise InputError(f"{name}: its query mask is empty; mark the object in the first frame")
