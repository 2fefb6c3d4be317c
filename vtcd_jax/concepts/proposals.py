"""Clips to tubelets: features of every head, upsampled, segmented and pooled, one clip in memory at a time.

Features are extracted at batch 1, in float32, at the highest precision, so that labels and concepts depend
neither on how clips are grouped nor on the number of threads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import jax
import numpy as np

from vtcd_jax.data.clips import Clips
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import InputError, Inputs, Model, forward, nearest, sites

from .cache import Arrays, Memory, each_head, key_of, model_hash, pack, site_name, unpack
from .settings import SlicConfig
from .tubelets.crops import random_crops
from .tubelets.pooling import pool, resize_labels
from .tubelets.resampling import slic_size
from .tubelets.slic import slic
from .types import Tubelets

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total) with stage "segment", "count", "factorise" or "assign"."""
Volumes = Callable[[], dict[str, np.ndarray]]
"""Gives the features of a clip."""


def concept_sites(model: Model, kind: str = "key") -> tuple[str, ...]:
    """Default sites of discovery: ``kind`` ("key", "query" or "value") of every block of the (encoder) stack.

    Decoders, text towers, extractors and attention over time alone are left out. Raises InputError when the model has
    no such site.
    """
    every = sites(model)
    chosen = tuple(s for s in every if re.fullmatch(rf"(encoder/)?block_\d+/(space_)?attn/{kind}", s))
    if not chosen:
        raise InputError(f"the model has no site …attn/{kind}; nearest: {nearest(f'attn/{kind}', every)}")
    return chosen


def check_sites(model: Model, names: Sequence[str]) -> tuple[tuple[int, int, int], dict[str, int]]:
    """(token grid, heads per site) of the sites; a stream counts as one head.

    Raises InputError for unknown or repeated sites, and for sites of different grids or channels.
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
    kinds = {(shape[1:4], shape[-1]) for shape in shapes.values()}
    if len(kinds) > 1:
        raise InputError(f"sites differ in grid or channels: {', '.join(f'{n} {s}' for n, s in shapes.items())}")
    grid = next(iter(shapes.values()))[1:4]
    return (grid[0], grid[1], grid[2]), {name: shape[4] if len(shape) == 6 else 1 for name, shape in shapes.items()}


def segment(
    model: Model,
    clips: Clips,
    names: Sequence[str],
    config: SlicConfig,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    memory: Memory | None = None,
) -> tuple[Tubelets, dict[str, np.ndarray]]:
    """Tubelets of all clips, sites and heads, and their labels (site -> uint8 [video, T', H', W', head]).

    workers: threads that segment sites side by side (each holds a few scalars per seed and voxel); None: one per
             core, at most 8.
    memory:  keeps each head of each site of each clip as it is done, and knows those of an earlier call with the same
             network, clip and settings.
    Raises InputError, naming clip and site, for features that are not finite.
    """
    grid, heads = check_sites(model, names)
    size = volume_size(model, grid, config)
    labels = {name: np.zeros((len(clips), *size, heads[name]), np.uint8) for name in names}
    rows: list[tuple[np.ndarray, ...]] = []
    network = None if memory is None else model_hash(model)
    with ThreadPoolExecutor(threads_of(workers)) as threads:
        for video in range(len(clips)):
            # Made when the first site asks for it: a clip whose sites are all known needs no forward pass.
            volumes = cache(partial(features, model, clips, video, tuple(names)))

            def work(name: str, video: int = video, volumes: Volumes = volumes) -> list[Arrays]:
                def make(which: list[int]) -> list[Arrays]:
                    return _segment_heads(volumes()[name], which, size, config, clips, video, name)

                place = f"segment/{key_of(network, size, config, clips.hashes[video])}-{site_name(name)}"
                return each_head(memory, place, heads[name], make, threads=1)  # sites share the cores already

            for s, layer in enumerate(threads.map(work, names)):
                for h, found in enumerate(layer):
                    labels[names[s]][video, ..., h] = unpack(found["labels"], size)
                    where = np.full((len(found["label"]), 3), (s, h, video), np.int32)
                    rows.append((where, found["label"], found["size"], found["feature"]))
            if progress:
                progress("segment", video + 1, len(clips))
    return _ordered(rows), labels


def volume_size(model: Model, grid: tuple[int, int, int], config: SlicConfig) -> tuple[int, int, int]:
    """(time, height, width) of what is segmented: as asked for, or the tokens, or every frame at half its size."""
    if config.size is not None:
        return config.size
    return grid if config.resolution == "token" else slic_size(model.preprocessing)


def threads_of(workers: int | None) -> int:
    """Threads that segment sites side by side."""
    return workers or min(os.cpu_count() or 1, 8)


def features(model: Model, clips: Clips, video: int, names: Sequence[str]) -> dict[str, np.ndarray]:
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
    clips: Clips,
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
        return np.stack([random_crops(size, config.n_segments, (config.crop_seed, *place)) for place in places])
    return slic(
        heads,
        n_segments=config.n_segments,
        compactness=config.compactness,
        min_size_factor=config.min_size_factor,
        max_size_factor=config.max_size_factor,
        size=size,
        upsample=config.upsample,
    )


def _ordered(rows: list[tuple[np.ndarray, ...]]) -> Tubelets:
    """Concatenates (where [n, 3] = site, head, video; label, size, feature) in the order (site, head, video, label)."""
    where, label, size, feature = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    order = np.lexsort((label, where[:, 2], where[:, 1], where[:, 0]))
    site, head, video = (np.ascontiguousarray(column) for column in where[order].T)
    return Tubelets(site, head, video, label[order], size[order], feature[order])


def token_ids(
    tubelets: Tubelets,
    assignment: np.ndarray,
    labels: dict[str, np.ndarray],
    names: Sequence[str],
    grid: tuple[int, int, int],
    rule: str,
) -> dict[str, np.ndarray]:
    """Concept of every token: site -> int32 [video, time, height, width, head, 1], -1 where there is none."""
    ids = {}
    for s, name in enumerate(names):
        videos, heads = labels[name].shape[0], labels[name].shape[-1]
        concept_of = np.full((heads, videos, 256), -1, np.int32)
        rows = tubelets.site == s
        concept_of[tubelets.head[rows], tubelets.video[rows], tubelets.label[rows]] = assignment[rows]
        ids[name] = np.full((videos, *grid, heads, 1), -1, np.int32)
        for video in range(videos):
            for head in range(heads):
                coarse = resize_labels(labels[name][video, ..., head], grid, rule)
                ids[name][video, ..., head, 0] = concept_of[head, video][coarse]
    return ids


def padded_rows(tubelets: Tubelets, site: int, heads: int, width: int) -> np.ndarray:
    """int64 [head, width]: rows of each head's tubelets at a site, -1 for padding at the end."""
    rows = np.full((heads, width), -1)
    for head in range(heads):
        own = np.flatnonzero((tubelets.site == site) & (tubelets.head == head))
        rows[head, : len(own)] = own
    return rows


def padded_features(tubelets: Tubelets, rows: np.ndarray) -> np.ndarray:
    """float32 [head, sample, channel]: features of ``rows``, zero where they are -1."""
    return np.where(rows[..., None] >= 0, tubelets.feature[rows], 0).astype(np.float32)


def widest(tubelets: Tubelets) -> int:
    """Most tubelets of any head, rounded up to a multiple of 16: one shape, one compilation for all
    layers.
    """
    _, counts = np.unique(np.stack([tubelets.site, tubelets.head]), axis=1, return_counts=True)
    return -(-int(counts.max()) // 16) * 16
