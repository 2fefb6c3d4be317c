"""Importance from gradients of the score with respect to the gates, through the same masked pass.

    g        gates of a clip, 1 kept, 0 removed;  v(g) the score
    integrated gradients   ∫_0^1 ∂v/∂g_i (t, …, t) dt     all gates go from 0 to 1 together; Σ_i = v(1) - v(0)
    gradient x gate        ∂v/∂g_i (1, …, 1)

The integral uses Gauss-Legendre quadrature with ``steps`` nodes. Sundararajan, Taly & Yan (2017), "Axiomatic
Attribution for Deep Networks". The released code scales features, not gates, and omits the last step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation import Explicit, Support, slopes
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import ClipSource
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores.functions import Score, Scores, check_smooth, default_scores, flat_scores, score_functions
from vtcd_jax.scores.targets import Class, Reference, find_targets

from .estimation.estimators import Estimate
from .estimation.result import Importance, combine
from .measure import baselines

GRADIENTS = Step("gradients", "gradients", "pass")


def integrated_gradients(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    *,
    steps: int = 32,
    score: Scores | None = None,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    work: Work = Work(),
) -> Importance:
    """Integrated gradients of a smooth score; ``steps`` passes forward and back per clip.

    score: default: the first smooth score that fits the network. The other arguments are those of ``cris``.
    Raises InputError for a score without slope (0/1 scores), and as ``cris`` does.
    """
    if steps < 1:
        raise InputError(f"--steps {steps} must be at least 1")
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    path = ((nodes + 1) / 2, weights / 2)
    targets = find_targets(model, clips, target=target, reference=reference)
    settings = {"targets": targets, "mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype, "work": work}
    return _along(model, clips, concepts, path, "integrated gradients", smooth_score(model, score), settings)


def gradient_gate(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    *,
    score: Scores | None = None,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    work: Work = Work(),
) -> Importance:
    """Slope of a smooth score at the unmodified clip; one pass forward and back per clip."""
    targets = find_targets(model, clips, target=target, reference=reference)
    settings = {"targets": targets, "mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype, "work": work}
    path = (np.ones(1), np.ones(1))
    return _along(model, clips, concepts, path, "gradient x gate", smooth_score(model, score), settings)


def smooth_score(model: Model, score: Scores | None) -> dict[str, Score]:
    """Name -> score. Raises InputError for a score without slope; the message names a smooth one."""
    if score is None:
        named = score_functions(default_scores(model))
        return dict([next(pair for pair in named.items() if pair[0] not in flat_scores(named))])
    first = dict([next(iter(score_functions(score).items()))])
    check_smooth(first)
    return first


def _along(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    path: tuple[np.ndarray, np.ndarray],
    name: str,
    score: dict[str, Score],
    settings: dict[str, Any],
) -> Importance:
    """Weighted mean of the slopes at the path's points (all gates equal), [concept] per clip."""
    support, (points, weights), score_name = Support.of(concepts), path, next(iter(score))
    gates = np.ones((len(points), len(concepts)), np.float32)
    gates[:, : concepts.leaves] = points[:, None]  # a node's gate is that of all its leaves
    found = slopes(model, clips, support, Explicit(gates), score=score, step=GRADIENTS, **settings)[score_name]
    exact = np.zeros(len(concepts))
    by_leaf = np.tensordot(weights, found[..., : concepts.leaves].astype(np.float64), (0, 1))  # [video, leaf]
    estimates = [Estimate(clip, exact, 1.0) for clip in by_leaf @ concepts.members.T]
    baseline = baselines(model, clips, support, score=score, **settings)
    return combine(
        score_name, name, "path", estimates, [len(points)] * len(clips), support.present(), baseline[score_name],
        clips.hashes,
    )  # fmt: skip
