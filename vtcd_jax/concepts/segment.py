"""Clips to tubelets: features of every head, upsampled, segmented and pooled, one clip in memory at a time.

Features are extracted at batch 1, in float32, at the highest precision, so that labels and concepts depend
neither on how clips are grouped nor on the number of threads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import numpy as np

from vtcd_jax.data.clips import Clips
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import InputError, Inputs, Model, forward, nearest, sites

from .config import SlicConfig
from .features import slic_size, upsample
from .supervoxels import slic
from .tubelets import pool, resize_labels
from .types import Tubelets

Progress = Callable[[str, int, int], None]
"""Called as progress(stage, done, total) with stage "segment", "count", "factorise" or "assign"."""


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
) -> tuple[Tubelets, dict[str, np.ndarray]]:
    """Tubelets of all clips, sites and heads, and their SLIC labels (site -> uint8 [video, T', H', W',
    head]).

    workers: threads that segment heads side by side (each holds a few copies of one head's volume); None: one
             per
    core, at most 8. Raises InputError, naming clip and site, for features that are not finite.
    """
    _, heads = check_sites(model, names)
    size = config.size or slic_size(model.preprocessing)
    labels = {name: np.zeros((len(clips), *size, heads[name]), np.uint8) for name in names}
    rows: list[tuple[np.ndarray, ...]] = []
    with ThreadPoolExecutor(threads_of(workers)) as threads:
        for video in range(len(clips)):
            volumes = features(model, clips, video, names)
            jobs = [(s, h) for s, name in enumerate(names) for h in range(heads[name])]
            work = partial(_segment_head, volumes, names, size, config, clips.names[video])
            for (s, h), (found, kept, sizes, pooled) in zip(jobs, threads.map(work, jobs), strict=True):
                labels[names[s]][video, ..., h] = found
                where = np.broadcast_to(np.array([s, h, video], np.int32), (len(kept), 3))
                rows.append((where, kept, sizes, pooled))
            if progress:
                progress("segment", video + 1, len(clips))
    return _ordered(rows), labels


def threads_of(workers: int | None) -> int:
    """Threads that segment heads side by side."""
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


def _segment_head(
    volumes: dict[str, np.ndarray],
    names: Sequence[str],
    size: tuple[int, int, int],
    config: SlicConfig,
    clip: str,
    job: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """SLIC labels of one head of one clip, and label, size and feature of its tubelets."""
    site, head = job
    volume = upsample(volumes[names[site]][..., head, :], size, config.upsample)
    try:
        labels = slic(
            volume,
            n_segments=config.n_segments,
            compactness=config.compactness,
            min_size_factor=config.min_size_factor,
            max_size_factor=config.max_size_factor,
        )
    except InputError as error:
        raise InputError(f"clip {clip}, site {names[site]}, head {head}: {error}") from None
    return labels, *pool(volume, labels, pooling=config.pooling, min_fraction=config.min_fraction)


def _ordered(rows: list[tuple[np.ndarray, ...]]) -> Tubelets:
    """Concatenates (where [n, 3], label, size, feature) in the order (site, head, video, label)."""
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
