"""What discovery takes: one head of one clip is segmented, one layer of random tubelets factorised for a few steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from vtcd_jax.devices.cpu import cores
from vtcd_jax.models import Model, sites

from .clustering.number_of_concepts import choose_numbers, head_keys
from .dictionaries import fit_heads
from .proposals import check_sites, padded_samples, threads_of, volume_sizes
from .settings import NmfConfig, SlicConfig
from .tubelets.pooling import pool
from .tubelets.slic import slic


def largest_site(model: Model, names: Sequence[str]) -> str:
    """The site with the most numbers per clip; the first of several."""
    return max(names, key=lambda name: math.prod(sites(model)[name].shape))


def segmentation_seconds(model: Model, name: str, config: SlicConfig) -> float:
    """Seconds of SLIC and pooling per head and clip, on random features, as many sites at a time as in a run; 0 where
    nothing is segmented."""
    if config.proposals == "tokens":
        return 0.0
    site, size = check_sites(model, (name,))[name], volume_sizes(model, (name,), config)[name]
    heads = min(site.heads, cores())  # they run side by side, as many as there are cores
    shape = (heads, *site.grid, site.channels)
    features = np.random.default_rng(0).normal(size=shape).astype(np.float32)

    def one(_: int) -> Any:
        labels = slic(features, n_segments=config.n_segments, compactness=config.compactness, size=size)
        return [pool(volume, of_head) for volume, of_head in zip(features, labels, strict=True)]

    one(0)  # loads and compiles
    count = threads_of(None)
    with ThreadPoolExecutor(count) as threads:
        return _seconds(lambda: list(threads.map(one, range(count)))) / count / heads


def factorisation_seconds(
    model: Model, names: Sequence[str], clips: int, slic_config: SlicConfig, nmf: NmfConfig, steps: int = 20
) -> float:
    """Seconds of counting and factorising all layers: the largest is compiled once, a few steps are timed, all steps
    assumed."""
    site, layers = check_sites(model, names)[largest_site(model, names)], len(names)
    heads, channels = site.heads, site.channels
    samples = padded_samples(
        slic_config.samples if slic_config.proposals == "tokens" else clips * slic_config.n_segments
    )
    X = np.random.default_rng(0).normal(size=(heads, samples, channels)).astype(np.float32)
    concepts = min(nmf.elbow.largest, samples)
    numbers = np.full(heads, concepts, np.int32)
    labels = np.tile(np.arange(samples) % concepts, (heads, 1)).astype(np.int32)

    def count() -> Any:
        mask, keys = np.ones((heads, samples), bool), head_keys(jax.random.key(0), heads)
        return choose_numbers(X, mask, keys, nmf.elbow, restarts=nmf.restarts, kmeans_steps=nmf.kmeans_steps)

    def factorise() -> Any:
        options = {"method": nmf.method, "active": nmf.active, "form": nmf.form}
        return fit_heads(np.abs(X), labels, numbers, concepts=concepts, max_steps=steps, tol=0.0, **options).codes

    counting, compiling, fitting = _seconds(count), _seconds(factorise), _seconds(factorise)
    # Refits are as many with other seeds as with other clips; each counts with a single number of clusters.
    fits = layers * (1 + 2 * nmf.refits)
    return counting + (layers - 1) * _seconds(count) + compiling + fits * fitting * nmf.max_steps / steps


def _seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - begun
