"""Concepts: from a network's features on clips to groups of space-time regions.

    features ──▶ single tokens ──k-means, knee──▶ convex NMF ──▶ concepts ──▶ every token has one       (default)
    features ──upsample──▶ SLIC ──▶ tubelets ──k-means, elbow──▶ convex NMF ──▶ concepts               (VTCD)

Other dictionaries than convex NMF, for your own features too: ``dictionaries.fit`` and ``encode``. SLIC, k-means,
silhouettes and the factorisation work on plain arrays and know no network; ``discover`` and ``assign`` put them
together.

Kowal, Dave, Ambrus, Gaidon, Derpanis & Tokmakov (2024), "Understanding Video Transformers via Universal Concept
Discovery", CVPR, §4.
"""

from .assignment import assign
from .dictionaries.convex_nmf import Factorization, convex_nmf
from .discovery import discover
from .evaluation.controls import nearest_centres, random_centres, random_groups
from .evaluation.mask_overlaps import MaskOverlap, best_overlaps
from .evaluation.overlaps import best_overlap, overlap, random_overlaps
from .evaluation.stability import Stability, stability
from .files.storage import load_concepts, save_concepts
from .proposals import concept_sites
from .settings import ElbowRule, NmfConfig, SlicConfig
from .tubelets.slic import slic
from .types import Concepts, Tubelets

__all__ = [
    "Concepts",
    "ElbowRule",
    "Factorization",
    "MaskOverlap",
    "NmfConfig",
    "SlicConfig",
    "Stability",
    "Tubelets",
    "assign",
    "best_overlap",
    "best_overlaps",
    "concept_sites",
    "convex_nmf",
    "discover",
    "load_concepts",
    "nearest_centres",
    "overlap",
    "random_centres",
    "random_groups",
    "random_overlaps",
    "save_concepts",
    "slic",
    "stability",
]
