"""Importance from gradients of the score with respect to the gates, through the same masked pass.

    g        gates of a clip, 1 kept, 0 removed;  v(g) the score
    integrated gradients   ∫_0^1 ∂v/∂g_i (t, …, t) dt     all gates run together from 0 to 1; Σ_i = v(1) - v(0)
    gradient x gate        ∂v/∂g_i (1, …, 1)

The integral is Gauss and Legendre's with ``steps`` nodes. Sundararajan, Taly & Yan (2017), "Axiomatic Attribution for
Deep Networks". The released code scales features, not gates, and leaves the last step out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.ablation.engine import make_passes
from vtcd_jax.ablation.inputs import Arguments, arguments_of
from vtcd_jax.ablation.masked_pass import ClipArguments, Passes, batch_of_one, masked_scores
from vtcd_jax.ablation.support import Support
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.models import InputError, Model
from vtcd_jax.scores.functions import SCORES, Score, Scores, default_scores, score_functions
from vtcd_jax.scores.targets import Class, Reference, find_targets

from .cris import baselines
from .estimation.estimators import Estimate
from .estimation.result import Importance, combine

FLAT = {"accuracy": "log_probability", "iou": "soft_iou"}  # scores without slope -> what to take instead


def integrated_gradients(
    model: Model,
    clips: Clips,
    concepts: Concepts,
    *,
    steps: int = 32,
    score: Scores | None = None,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    dtype: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Integrated gradients of a smooth score; ``steps`` passes forward and back per clip.

    score: default, the first smooth one that fits the network. The other arguments are those of ``cris``.
    Raises InputError for a score without slope (0/1 scores), and as ``cris`` does.
    """
    if steps < 1:
        raise InputError(f"--steps {steps} must be at least 1")
    nodes, shares = np.polynomial.legendre.leggauss(steps)
    path = ((nodes + 1) / 2, shares / 2)
    settings = (score, target, reference, mode, dtype)
    return _along(model, clips, concepts, path, "integrated gradients", settings, progress)


def gradient_gate(
    model: Model,
    clips: Clips,
    concepts: Concepts,
    *,
    score: Scores | None = None,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    dtype: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Slope of a smooth score at the untouched clip; one pass forward and back per clip."""
    settings = (score, target, reference, mode, dtype)
    path = (np.ones(1), np.ones(1))
    return _along(model, clips, concepts, path, "gradient x gate", settings, progress)


def smooth_score(model: Model, score: Scores | None) -> dict[str, Score]:
    """The score by its name. Raises InputError for a score without slope, with one that has it."""
    if score is None:
        return score_functions(next(name for name in default_scores(model) if name not in FLAT))
    name, function = next(iter(score_functions(score).items()))
    flat = next((known for known in FLAT if SCORES[known] is function), None)
    if flat is not None:
        raise InputError(f"score {name!r} has no slope; take {FLAT[flat]!r}")
    return {name: function}


def _along(
    model: Model,
    clips: Clips,
    concepts: Concepts,
    path: tuple[np.ndarray, np.ndarray],
    name: str,
    settings: tuple,
    progress: Callable[[int], None] | None,
) -> Importance:
    """Weighted mean of the slopes at the path's points (all gates equal), [concept] per clip."""
    score, target, reference, mode, dtype = settings
    score = smooth_score(model, score)
    targets = find_targets(model, clips, target=target, reference=reference)
    support = Support.of(concepts)
    present = support.present()
    arguments = arguments_of(model, clips, support, targets, mode)
    passes = make_passes(arguments, len(path[0]), score=score, mode=mode, chunk=1, dtype=dtype)
    estimates = []
    for video in range(len(clips)):
        slopes = slopes_at(passes, arguments, video, present[video], path[0])
        estimates.append(Estimate(np.where(present[video], path[1] @ slopes, 0.0), np.zeros(len(concepts)), 1.0))
        if progress:
            progress(len(path[0]))
    baseline = baselines(model, clips, support, score, targets, mode, dtype=dtype)
    own = next(iter(score))
    return combine(own, name, "path", estimates, [len(path[0])] * len(clips), present, baseline[own])


def slopes_at(passes: Passes, arguments: Arguments, video: int, present: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float64 [point, concept]: slopes where all present gates have the value of the point."""
    gates = np.where(present, points[:, None], 1.0).astype(np.float32)
    clip = batch_of_one(jax.tree.map(lambda a: a[0], arguments.of([video])))
    return np.asarray(_slopes(passes, arguments.model, clip, jnp.asarray(gates)), np.float64)


@partial(jax.jit, static_argnums=0)
def _slopes(passes: Passes, model: Model, clip: ClipArguments, gates: jax.Array) -> jax.Array:
    name = passes.functions[0][0]
    one = masked_scores(passes, model, clip)
    return jax.lax.map(jax.grad(lambda row: one(row)[name]), gates)
