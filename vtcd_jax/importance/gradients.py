"""Importance from gradients of the score with respect to the gates, through the same masked pass.

    g        gates of a clip, 1 kept, 0 removed;  v(g) the score
    integrated gradients   ∫_0^1 ∂v/∂g_i (t, …, t) dt     all gates go from 0 to 1 together; Σ_i = v(1) - v(0)
    gradient x gate        ∂v/∂g_i (1, …, 1)

The integral uses Gauss-Legendre quadrature with ``steps`` nodes. Sundararajan, Taly & Yan (2017), "Axiomatic
Attribution for Deep Networks". The released code scales features, not gates, and omits the last step.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.ablation.engine import configure_passes
from vtcd_jax.ablation.gates import padded_columns
from vtcd_jax.ablation.inputs import EngineInputs, build_inputs
from vtcd_jax.ablation.masked_pass import DeviceBatch, PassConfig, batch_of_one, masked_scores
from vtcd_jax.ablation.support import Support
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import ClipSource
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores.functions import FLAT, SCORES, Score, Scores, default_scores, score_functions
from vtcd_jax.scores.targets import Class, Reference, find_targets

from .cris import baselines
from .estimation.estimators import Estimate
from .estimation.result import Importance, combine

GRADIENTS = Step("gradients", "gradients", "clip")


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
    settings = (score, target, reference, mode, dtype)
    return _along(model, clips, concepts, path, "integrated gradients", settings, work)


def gradient_gate(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    *,
    score: Scores | None = None,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    dtype: str | None = None,
    work: Work = Work(),
) -> Importance:
    """Slope of a smooth score at the unmodified clip; one pass forward and back per clip."""
    settings = (score, target, reference, mode, dtype)
    path = (np.ones(1), np.ones(1))
    return _along(model, clips, concepts, path, "gradient x gate", settings, work)


def smooth_score(model: Model, score: Scores | None) -> dict[str, Score]:
    """Name -> score. Raises InputError for a score without slope; the message names a smooth one."""
    if score is None:
        return score_functions(next(name for name in default_scores(model) if name not in FLAT))
    name, function = next(iter(score_functions(score).items()))
    flat = next((key for key in FLAT if SCORES[key] is function), None)
    if flat is not None:
        raise InputError(f"score {name!r} has no slope; take {FLAT[flat]!r}")
    return {name: function}


def _along(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    path: tuple[np.ndarray, np.ndarray],
    name: str,
    settings: tuple,
    work: Work,
) -> Importance:
    """Weighted mean of the slopes at the path's points (all gates equal), [concept] per clip."""
    score, target, reference, mode, dtype = settings
    score = smooth_score(model, score)
    targets = find_targets(model, clips, target=target, reference=reference)
    support = Support.of(concepts)
    present = support.present()
    inputs = build_inputs(model, clips, support, targets, mode)
    config = configure_passes(inputs, len(path[0]), score=score, mode=mode, chunk=1, dtype=dtype)
    estimates = []
    for video in range(len(clips)):
        slopes = slopes_at(config, inputs, video, present[video], path[0])
        slopes = slopes[:, : concepts.leaves] @ concepts.members.T  # a node's gate is that of all its leaves
        estimates.append(Estimate(np.where(present[video], path[1] @ slopes, 0.0), np.zeros(len(concepts)), 1.0))
        work.progress(GRADIENTS, video + 1, len(clips))
    baseline = baselines(model, clips, support, score=score, targets=targets, mode=mode, dtype=dtype)
    score_name = next(iter(score))
    return combine(
        score_name, name, "path", estimates, [len(path[0])] * len(clips), present, baseline[score_name], clips.hashes,
    )  # fmt: skip


def slopes_at(
    config: PassConfig, inputs: EngineInputs, video: int, present: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """float64 [point, concept]: slopes where all present gates have the value of the point."""
    gates = np.where(present, points[:, None], 1.0).astype(np.float32)
    clip = batch_of_one(jax.tree.map(lambda a: a[0], inputs.of([video])))
    slopes = np.asarray(_slopes(config, inputs.model, clip, jnp.asarray(padded_columns(gates))), np.float64)
    return slopes[:, : len(present)]


@partial(jax.jit, static_argnums=0)
def _slopes(config: PassConfig, model: Model, clip: DeviceBatch, gates: jax.Array) -> jax.Array:
    name = config.functions[0][0]
    one = masked_scores(config, model, clip)
    return jax.lax.map(jax.grad(lambda row: one(row)[name]), gates)
