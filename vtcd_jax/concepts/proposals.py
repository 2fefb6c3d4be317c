"""Clips to tubelets: features of every head, upsampled, segmented and pooled, one clip in memory at a time.

Features are extracted at batch 1, in float32, at the highest precision, so that labels and concepts depend
neither on how clips are grouped nor on the number of threads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np

from vtcd_jax.data.clips import ClipSource
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import InputError, Inputs, Model, family_of, fingerprint, forward, nearest, sites
from vtcd_jax.runs import Step, Work
from vtcd_jax.runs.blocks import Arrays

from .cache import each_head, key_of, pack, site_name
from .labels import Grid, Labels
from .settings import SlicConfig
from .tubelets.crops import random_crops
from .tubelets.pooling import pool, resize_labels
from .tubelets.resampling import slic_size
from .tubelets.slic import slic
from .types import Tubelets

SEGMENT = Step("segment", "tubelets", "clip")
Volumes = Callable[[], dict[str, np.ndarray]]
"""Gives the features of a clip."""


def concept_sites(model: Model, kind: str = "key") -> tuple[str, ...]:
    """Default sites of discovery: those of ``kind`` ("key", "query" or "value") that its family names, in every block.

    Of the networks of this library they leave out decoders, text towers, extractors and attention over time alone.
    Raises InputError when the model has no such site.
    """
    patterns = family_of(model).concept_sites
    chosen = tuple(site for site in sites(model) if re.fullmatch(patterns.get(kind, ""), site))
    if not chosen:
        known = f"its kinds: {', '.join(patterns)}" if patterns else "name them (sites=…); `models.sites` lists all"
        raise InputError(f"the model has no sites of kind {kind!r}; {known}")
    return chosen


class Site(NamedTuple):
    """grid: (time, height, width) of the tokens.  heads: a stream counts as one.  channels: of a head."""

    grid: Grid
    heads: int
    channels: int


def check_sites(model: Model, names: Sequence[str]) -> dict[str, Site]:
    """What the sites look like, by name, in the order given; each may have its own grid and channels.

    Raises InputError for unknown or repeated sites, and for those without positions in time and space.
    """
    every = sites(model)
    unknown = [f"no site {name!r}; nearest names: {nearest(name, every)}" for name in names if name not in every]
    if unknown or not names:
        raise InputError("\n".join(unknown) or "no sites given; see `concept_sites`")
    if len(set(names)) < len(names):
        raise InputError(f"sites repeat: {', '.join(names)}")
    shapes = {name: tuple(every[name].shape) for name in names}
    flat = [name for name, shape in shapes.items() if len(shape) not in (5, 6)]
    if flat:
        raise InputError(f"{', '.join(flat)}: no positions in time and space; choose a per-head site or a stream")
    return {
        name: Site((shape[1], shape[2], shape[3]), shape[4] if len(shape) == 6 else 1, shape[-1])
        for name, shape in shapes.items()
    }


def segment(
    model: Model,
    clips: ClipSource,
    names: Sequence[str],
    config: SlicConfig,
    *,
    workers: int | None = None,
    work: Work = Work(),
) -> tuple[Tubelets, Labels]:
    """Tubelets of all clips, sites and heads, and their labels.

    workers: threads that segment sites side by side (each holds a few scalars per seed and voxel); None: one per
             core, at most 8.
    work:    keeps each head of each site of each clip as it is done, and knows those of an earlier call with the same
             network, clip and settings.
    Raises InputError, naming clip and site, for features that are not finite.
    """
    shapes = check_sites(model, names)
    sizes = volume_sizes(model, names, config)
    labels: dict[str, list[tuple[np.ndarray, ...]]] = {name: [] for name in names}
    rows: list[tuple[np.ndarray, ...]] = []
    network = "" if work.store is None else fingerprint(model)
    work.progress(SEGMENT, 0, len(clips))
    with ThreadPoolExecutor(threads_of(workers)) as threads:
        for video in range(len(clips)):
            # Made when the first site asks for it: a clip whose sites are all known needs no forward pass.
            volumes = cache(partial(features, model, clips, video, tuple(names)))

            def tubelets_of(name: str, video: int = video, volumes: Volumes = volumes) -> list[Arrays]:
                size = sizes[name]

                def make(which: list[int]) -> list[Arrays]:
                    return _segment_heads(volumes()[name], which, size, config, clips, video, name)

                place = f"segment/{key_of(network, size, config, clips.hashes[video])}-{site_name(name)}"
                return each_head(work, place, shapes[name].heads, make, threads=1)  # sites share the cores already

            for s, layer in enumerate(threads.map(tubelets_of, names)):
                labels[names[s]].append(tuple(found["labels"] for found in layer))
                for h, found in enumerate(layer):
                    where = np.full((len(found["label"]), 3), (s, h, video), np.int32)
                    rows.append((where, found["label"], found["size"], found["feature"]))
            work.progress(SEGMENT, video + 1, len(clips))
    return ordered(rows)[0], Labels(sizes, {name: tuple(own) for name, own in labels.items()})


def volume_sizes(model: Model, names: Sequence[str], config: SlicConfig) -> dict[str, Grid]:
    """Site -> (time, height, width) of what is segmented: as asked for, or its tokens, or every frame at half its
    size."""
    grids = {name: site.grid for name, site in check_sites(model, names).items()}
    if config.size is not None:
        return dict.fromkeys(grids, config.size)
    return grids if config.resolution == "token" else dict.fromkeys(grids, slic_size(model.preprocessing))


def threads_of(workers: int | None) -> int:
    """Threads that segment sites side by side."""
    return workers or min(os.cpu_count() or 1, 8)


def features(model: Model, clips: ClipSource, video: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Features of one clip: site -> float32 [time, height, width, head, channel]."""
    captured = _capture(model, clip_inputs(model, clips, video), tuple(names))
    host = {name: np.asarray(value[0], np.float32) for name, value in captured.items()}
    return {name: value if value.ndim == 5 else value[:, :, :, None] for name, value in host.items()}


@partial(jax.jit, static_argnames="names")
def _capture(model: Model, inputs: Inputs, names: tuple[str, ...]) -> dict[str, jax.Array]:
    with jax.default_matmul_precision("highest"):
        return forward(model, inputs, capture=names)[1]


def _segment_heads(
    volume: np.ndarray,
    which: list[int],
    size: tuple[int, int, int],
    config: SlicConfig,
    clips: ClipSource,
    video: int,
    name: str,
) -> list[Arrays]:
    """Heads ``which`` of a site of one clip, ``volume`` [time, height, width, head, channel]: of each the packed labels
    [T', H', W'], and label, size and feature of its tubelets.
    """
    heads = np.moveaxis(volume, 3, 0)[which]
    try:
        labels = propose(heads, size, config, [(clips.pixel_hashes[video], name, head) for head in which])
    except InputError as error:
        raise InputError(f"clip {clips.names[video]}, site {name}: {error}") from None
    how = partial(pool, pooling=config.pooling, min_fraction=config.min_fraction, upsample=config.upsample)
    found = []
    for one, regions in zip(heads, labels, strict=True):
        label, sizes, feature = how(one, regions)
        found.append({"labels": pack(regions), "label": label, "size": sizes, "feature": feature})
    return found


def propose(
    heads: np.ndarray, size: tuple[int, int, int], config: SlicConfig, places: list[tuple[str, str, int]]
) -> np.ndarray:
    """int32 [head, T', H', W']: the regions that each head's tubelets will be; ``places`` (clip, site, head) seed
    random ones."""
    if config.proposals == "crops":
        return np.stack([random_crops(size, config.n_segments, (config.proposal_seed, *place)) for place in places])
    return slic(
        heads,
        n_segments=config.n_segments,
        compactness=config.compactness,
        min_size_factor=config.min_size_factor,
        max_size_factor=config.max_size_factor,
        size=size,
        upsample=config.upsample,
    )


def ordered(rows: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tubelets, np.ndarray]:
    """Concatenates (where [n, 3] = site, head, video; label, size, feature) in the order (site, head, video, label);
    and that order."""
    *columns, features = zip(*rows, strict=True)
    where, label, size = (np.concatenate(parts) for parts in columns)
    feature = widened(features)
    order = np.lexsort((label, where[:, 2], where[:, 1], where[:, 0]))
    site, head, video = (np.ascontiguousarray(column) for column in where[order].T)
    return Tubelets(site, head, video, label[order], size[order], feature[order]), order


def widened(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Rows [row, channel] of several sites below one another; 0 beyond the channels of their own."""
    widest = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, widest - part.shape[1]))) for part in parts])


def token_ids(
    tubelets: Tubelets,
    assignment: np.ndarray,
    labels: Labels,
    names: Sequence[str],
    grid: Mapping[str, Grid],
    rule: str,
) -> dict[str, np.ndarray]:
    """Concept of every token: site -> int32 [video, time, height, width, head, 1], -1 where there is none.

    names: of all sites.  grid: site -> that of its tokens.
    """
    ids = {}
    for s, name in enumerate(names):
        videos, heads = len(labels.packed[name]), labels.heads(name)
        concept_of = np.full((heads, videos, 256), -1, np.int32)
        rows = tubelets.site == s
        concept_of[tubelets.head[rows], tubelets.video[rows], tubelets.label[rows]] = assignment[rows]
        ids[name] = np.full((videos, *grid[name], heads, 1), -1, np.int32)
        for video in range(videos):
            for head in range(heads):
                coarse = resize_labels(labels.volume(name, video, head), grid[name], rule)
                ids[name][video, ..., head, 0] = concept_of[head, video][coarse]
    return ids


def padded_rows(tubelets: Tubelets, site: int, heads: int, width: int) -> np.ndarray:
    """int64 [head, width]: rows of each head's tubelets at a site, -1 for padding at the end."""
    rows = np.full((heads, width), -1)
    for head in range(heads):
        own = np.flatnonzero((tubelets.site == site) & (tubelets.head == head))
        rows[head, : len(own)] = own
    return rows


def padded_features(tubelets: Tubelets, rows: np.ndarray, channels: int) -> np.ndarray:
    """float32 [head, sample, channel]: features of ``rows``, zero where they are -1. channels: of the site."""
    return np.where(rows[..., None] >= 0, tubelets.feature[rows, :channels], 0).astype(np.float32)


def padded_samples(count: int) -> int:
    """The next of a few sizes, so that other clips mostly come to one that is compiled already: multiples of 64 up to
    512, then four sizes up to every double."""
    step = max(64, 2 ** (max(count - 1, 0).bit_length() - 3))
    return max(-(-count // step), 1) * step


def padded_concepts(count: int) -> int:
    """The next of a few sizes: 8, 16, 32, …"""
    return max(8, 1 << max(count - 1, 0).bit_length())


def widest(tubelets: Tubelets) -> int:
    """Most tubelets of any head, rounded up to a multiple of 16: samples that k-means draws for."""
    _, counts = np.unique(np.stack([tubelets.site, tubelets.head]), axis=1, return_counts=True)
    return -(-int(counts.max()) // 16) * 16
