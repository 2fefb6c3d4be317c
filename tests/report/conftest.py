"""A small report's worth of results, made up but consistent.

One concept of each head follows the target, the others take the cells of a grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from vtcd_jax import models, world
from vtcd_jax.concepts import MaskOverlap
from vtcd_jax.concepts.labels import Labels
from vtcd_jax.concepts.types import Concepts, Tubelets
from vtcd_jax.data.clips import Clips
from vtcd_jax.importance import Interactions
from vtcd_jax.importance.curves import Curves, curves_from_scores, layer_importance, removal_counts
from vtcd_jax.importance.estimation.convergence import Convergence
from vtcd_jax.importance.estimation.estimators import Estimate
from vtcd_jax.importance.estimation.result import Importance, combine
from vtcd_jax.report import ReportData, ShownClips

SITES = ("block_1/attn/key", "block_3/attn/key")
HEADS, PER_HEAD = 2, 4
SLIC = (16, 24, 24)


def make_labels(clips: Clips, shift: int) -> np.ndarray:
    """SLIC-like labels [video, *SLIC]: cells of a coarse grid, and label 0 where the target is."""
    t, h, w = np.meshgrid(*(np.arange(n) for n in SLIC), indexing="ij")
    cells = 1 + (t // 8) * 9 + ((h + shift) // 8 % 3) * 3 + (w + 2 * shift) // 8 % 3
    target = clips.masks["target"][:, :, ::2, ::2]
    return np.where(target, 0, cells).astype(np.uint8)


def make_concepts(clips: Clips) -> Concepts:
    """Label 0 is the first concept of each head; the cells are dealt out to the others."""
    rows, labels = [], {}
    for s, site in enumerate(SITES):
        heads = [make_labels(clips, 3 * s + head) for head in range(HEADS)]
        labels[site] = np.stack(heads, -1)
        for head, volumes in enumerate(heads):
            for video, volume in enumerate(volumes):
                numbers, sizes = np.unique(volume, return_counts=True)
                rows += [(s, head, video, n, size) for n, size in zip(numbers, sizes, strict=True)]
    site, head, video, label, size = np.array(rows, np.int32).T
    number = np.where(label == 0, 0, 1 + (label + video // 2) % (PER_HEAD - 1))
    feature = np.random.default_rng(0).normal(size=(len(rows), 4)).astype(np.float32)
    per_site = HEADS * PER_HEAD
    total = len(SITES) * per_site
    where = np.arange(total)
    grid = (8, 6, 6)
    ids = {name: np.full((len(clips), *grid, HEADS, 1), -1, np.int32) for name in SITES}
    return Concepts(
        sites=SITES,
        grid=dict.fromkeys(SITES, grid),
        slic_grid=dict.fromkeys(SITES, SLIC),
        site=(where // per_site).astype(np.int32),
        head=(where // PER_HEAD % HEADS).astype(np.int32),
        number=(where % PER_HEAD + 1).astype(np.int32),
        dictionary=np.zeros((total, 4), np.float32),
        tubelets=Tubelets(site, head, video, label, size, feature),
        assignment=(site * per_site + head * PER_HEAD + number).astype(np.int32),
        weights=np.ones(len(rows), np.float32),
        memberships=np.ones((len(rows), 1), np.float32),
        ids=ids,
        labels=Labels.of(labels),
        silhouette=np.linspace(0.1, 0.6, total, dtype=np.float32),
        error=np.full(total, 0.4, np.float32),
        converged=where != 5,
        settings={"seed": 0},
        video_names=clips.names,
        video_hashes=clips.hashes,
    )


def make_importance(concepts: Concepts, score: str, seed: int) -> Importance:
    draw = np.random.default_rng(seed)
    present = concepts.present()
    values = draw.normal(0.02, 0.05, present.shape) + np.where(concepts.number == 1, 0.2, 0.0)
    estimates = [Estimate(row, np.full(len(row), 2e-4), 254.0) for row in values * present]
    baseline = draw.uniform(0.6, 0.9, len(present))
    return combine(score, "contrast", "folded-hadamard", estimates, [256] * len(present), present, baseline)


def make_curves(concepts: int, videos: int) -> Curves:
    counts = removal_counts(concepts, 16)
    x = counts / concepts
    shapes = [np.exp(-5 * x), 1 - x**5, *(1 - x**power for power in (1.1, 1.3, 1.5))]
    draw = np.random.default_rng(3)
    noise = draw.normal(0, 0.06, (videos, 5, len(x))) * (x > 0)
    scores = np.clip(np.stack(shapes)[None] * draw.uniform(0.8, 1, (videos, 1, 1)) + noise, 0, 1)
    return curves_from_scores("probability", counts, concepts, scores.reshape(videos, -1), 3)


def make_data(clips: Clips, **changes) -> ReportData:
    concepts = make_concepts(clips)
    found = tuple(
        make_importance(concepts, name, seed) for seed, name in enumerate(("probability", "accuracy", "margin"))
    )
    layer = np.asarray(concepts.layers)[concepts.site]
    fields = {
        "title": "Concepts of a small VideoMAE",
        "model": "videomae-world",
        "description": "VideoMAE classifier · width 96 · depth 4 · 4 heads · 16 × 48 × 48 clips · 0.5 M parameters",
        "clips": ShownClips.of(clips, world.CLASSES),
        "concepts": concepts,
        "importance": found,
        "target": None,
        "seed": 7,
        "curves": make_curves(len(concepts), len(clips)),
        "curves_note": "Drawn on 32 clips that were used neither for discovery nor for ranking.",
        "convergence": Convergence(
            np.array([32, 64, 128]), np.array([0.4, 0.62, 0.81]), np.array([0.2, 0.5, 0.74]), np.array([0.6, 0.7, 0.9])
        ),
        "layers": layer_importance(found[0].order(), layer),
        "overlaps": (
            MaskOverlap("target", 0, 0.61, 0.03, np.linspace(0.27, 0.37, 21), np.linspace(0.17, 0.27, 21), 7),
            MaskOverlap("occluder", 6, 0.31, 0.05, np.linspace(0.21, 0.33, 21), np.linspace(0.11, 0.29, 21), 6),
        ),
        "interactions": Interactions(
            "probability",
            "masks",
            276,
            np.array([[0, 6], [1, 2], [3, 4]]),
            np.array([0.31, -0.12, 0.01]),
            np.array([0.04, 0.02, 0.01]),
            np.array([0.0004, 0.03, 1.0]),
        ),
        "overlaps_note": "Chosen on the ranking clips, measured on 32 held-out clips.",
        "baselines": ("Accuracy on these clips with nothing removed: 92 %.",),
        "notes": ("Standard errors of layer 1 come from pooled residuals.",),
        "settings": {"slic": {"n_segments": 12, "compactness": 0.1}, "masks": 256, "chunk": None, "resume": False},
        "versions": {"vtcd_jax": "0.1.0", "jax": "0.8.0"},
        "methods": ("vtcd", "convex-nmf", "slic", *models.citations_of("videomae-classifier")),
    }
    return ReportData(**(fields | changes))


@pytest.fixture(scope="session")
def clips() -> Clips:
    return world.clips(7, 0)


@pytest.fixture(scope="session")
def make(clips: Clips) -> Callable[..., ReportData]:
    """make(field=value, …): the report's data with some fields changed."""
    return lambda **changes: make_data(changes.pop("clips", clips), **changes)
