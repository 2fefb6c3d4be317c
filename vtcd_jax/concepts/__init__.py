"""Concepts: from a network's features on clips to groups of space-time regions.

    features ──upsample──▶ SLIC ──▶ tubelets ──k-means, elbow──▶ convex NMF ──▶ concepts

Other dictionaries than convex NMF, for your own features too: ``dictionaries.fit`` and ``encode``.

SLIC, k-means, silhouettes and the factorisation work on plain arrays and know no network; ``discover`` and
``assign`` put them together. Names are looked up on first use, so importing this package loads nothing heavy.

Kowal, Dave, Ambrus, Gaidon, Derpanis & Tokmakov (2024), "Understanding Video Transformers via Universal
Concept Discovery", CVPR, §4.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtcd_jax.concepts.assignment import assign
    from vtcd_jax.concepts.controls import random_groups
    from vtcd_jax.concepts.discovery import discover
    from vtcd_jax.concepts.overlaps import best_overlap, overlap, random_overlaps
    from vtcd_jax.concepts.types import Concepts, Tubelets

    from .dictionaries.convex_nmf import Factorization, convex_nmf
    from .proposals import concept_sites
    from .settings import ElbowRule, NmfConfig, SlicConfig
    from .stability import Stability, stability
    from .storage import load_concepts, save_concepts
    from .tubelets.slic import slic

_HOMES = {
    "Concepts": "types",
    "ElbowRule": "config",
    "Factorization": "nmf",
    "NmfConfig": "config",
    "SlicConfig": "config",
    "Stability": "refitting",
    "Tubelets": "types",
    "assign": "assignment",
    "best_overlap": "overlaps",
    "concept_sites": "segment",
    "convex_nmf": "nmf",
    "discover": "discovery",
    "load_concepts": "store",
    "overlap": "overlaps",
    "random_groups": "controls",
    "random_overlaps": "overlaps",
    "save_concepts": "store",
    "slic": "supervoxels",
    "stability": "refitting",
}

__all__ = [
    "Concepts",
    "ElbowRule",
    "Factorization",
    "NmfConfig",
    "SlicConfig",
    "Stability",
    "Tubelets",
    "assign",
    "best_overlap",
    "concept_sites",
    "convex_nmf",
    "discover",
    "load_concepts",
    "overlap",
    "random_groups",
    "random_overlaps",
    "save_concepts",
    "slic",
    "stability",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
