"""Presets of VTCD: how much effort, or every choice of the authors at once.

    quick      a first look: concepts ranked by slopes alone, four passes forward and back a clip; removal curves of
               five points; without refits (no stability of concepts), controls, and intervals for these clips
    standard   the defaults
    thorough   four times the passes, finer curves, more draws of the controls, more refits
    released   what the code does: inertia elbow, 10,000 steps of convex NMF, tubelets by the largest entry of G, masks
               that remove exactly half of all concepts, the sum of scores
    paper      what the text says: silhouette elbow, equation 6

Compactness, the ratio for self-supervised models and the number of masks for TCOW (8,000) depend on the network; they
are options on top. Kowal et al. (2024); ``SlicConfig``, ``NmfConfig`` and ``ElbowRule`` name each difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COMMON: dict[str, Any] = {"masks": 4000, "control_masks": 4000, "design": "random", "ratio": 0.5, "mode": "zero"}
_SLIC = {
    "n_segments": 12, "upsample": "linear", "resolution": "half", "proposals": "slic", "pooling": "mean",
    "grid_rule": "nearest",
}  # fmt: skip
_NMF = {"method": "convex-nmf", "assignment": "G", "assign": "tubelets", "tree": 0.0}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {
        "design": "slopes",
        "masks": 12,
        "control_masks": 0,
        "controls": 5,
        "steps": 4,
        "repeats": 1,
        "top": 8,
        "nmf": {"refits": 0},
    },
    "standard": {},
    "thorough": {
        "masks": 2048,
        "control_masks": 2048,
        "controls": 100,
        "steps": 40,
        "repeats": 20,
        "top": 24,
        "nmf": {"refits": 4},
    },
    "released": _COMMON
    | {
        "estimator": "released",
        "slic": _SLIC,
        "nmf": _NMF | {"elbow": {"rule": "released"}, "max_steps": 10_000, "tol": 0.0, "form": "gram"},
    },
    "paper": _COMMON | {"estimator": "paper", "slic": _SLIC, "nmf": _NMF | {"elbow": {"rule": "paper"}}},
}
