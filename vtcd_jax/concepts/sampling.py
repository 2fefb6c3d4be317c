"""Tokens in the place of tubelets: nothing is segmented. Some tokens of every clip, drawn at random, are what concepts
are found in; all tokens get their concepts afterwards (``tokens``).

Of N tokens a head is to have, each of V clips gives N / V, the same places in all heads of a site.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from vtcd_jax.data.clips import ClipSource
from vtcd_jax.models import InputError, Model, fingerprint
from vtcd_jax.runs import Step, Work
from vtcd_jax.runs.blocks import Arrays

from .cache import key_of, site_name
from .proposals import Volumes, check_sites, features, ordered
from .settings import SlicConfig
from .types import Tubelets

SAMPLE = Step("sample", "tokens", "clip")


def sampled_tokens(
    model: Model, clips: ClipSource, names: Sequence[str], config: SlicConfig, *, work: Work = Work()
) -> Tubelets:
    """The drawn tokens of all clips, sites and heads, as tubelets of one voxel; their label is their place in the clip.

    work: keeps those of each clip and site as they are done.
    Raises InputError, naming clip and site, for features that are not finite.
    """
    shapes, rows = check_sites(model, names), []
    network = "" if work.store is None else fingerprint(model)
    each = max(config.samples // len(clips), 1)
    for video in range(len(clips)):
        work.progress(SAMPLE, video, len(clips))
        if work.stop():
            raise KeyboardInterrupt
        volumes: Volumes = cache(partial(features, model, clips, video, tuple(names)))
        for s, name in enumerate(names):

            def make(name: str = name, video: int = video, volumes: Volumes = volumes) -> Arrays:
                return _drawn(volumes()[name], each, config, clips, video, name)

            key = key_of(network, each, config.proposal_seed, clips.hashes[video])
            found = work.cached(f"segment/{key}-{site_name(name)}", make)
            for head in range(shapes[name].heads):
                where = np.full((len(found["label"]), 3), (s, head, video), np.int32)
                rows.append((where, found["label"], np.ones_like(found["label"]), found["feature"][head]))
    work.progress(SAMPLE, len(clips), len(clips))
    return ordered(rows)[0]


def _drawn(volume: np.ndarray, count: int, config: SlicConfig, clips: ClipSource, video: int, name: str) -> Arrays:
    """label int32 [token], feature float32 [head, token, channel] of ``count`` tokens of [time, height, width, head,
    channel], in order."""
    tokens = volume.reshape(-1, *volume.shape[3:])
    if not np.isfinite(tokens).all():
        raise InputError(f"clip {clips.names[video]}, site {name}: features are not finite")
    seed = [config.proposal_seed, *(zlib.crc32(part.encode()) for part in (clips.pixel_hashes[video], name))]
    label = np.sort(np.random.default_rng(seed).permutation(len(tokens))[:count]).astype(np.int32)
    return {"label": label, "feature": np.ascontiguousarray(np.moveaxis(tokens[label], 1, 0))}
