"""CRIS: concept importance by random masking (Kowal et al. 2024, VTCD, section 3.3 and equation 6).

Concepts of all layers and heads are removed together; a concept matters when the score is lower without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation.engine import scores as run_scores
from vtcd_jax.ablation.support import Support
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.models import InputError, Model, Seed, as_key
from vtcd_jax.scores.functions import Scores, default_scores, score_functions
from vtcd_jax.scores.targets import Class, Reference, Targets, find_targets

from .designs.hadamard import Hadamard
from .designs.random import Bernoulli, Design, LeaveOneOut, Paired, Random, check_ratio, nothing_removed, share_of
from .estimation.estimators import ESTIMATORS, ORIGINALS, default_estimator, estimate, rows_read
from .estimation.result import Importance, combine

DESIGNS = ("folded-hadamard", "hadamard", "paired", "bernoulli", "random", "heads", "leave-one-out")
UNBALANCED = ("bernoulli", "random")  # designs that can remove another share than a half


def cris(
    model: Model,
    clips: Clips,
    concepts: Concepts,
    *,
    score: Scores | None = None,
    masks: int = 512,
    design: str | None = None,
    ratio: float = 0.5,
    estimator: str | None = None,
    key: Seed,
    target: Class | None = None,
    reference: Reference = "true",
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Importance:
    """Ranks concepts by masking.

    concepts:  found on, or assigned to, the same clips in the same order.
    score:     the name to rank by, or one own function, alone or by name.
    masks:     the most passes per clip.  design: one of ``DESIGNS`` (see ``designs``), default what fits the estimator.
    ratio:     share of concepts removed in each mask; other than a half for "random" and "bernoulli" alone.
    estimator: one of ``estimators.ESTIMATORS``, default what fits the design.
    target:    class for all clips, default each clip's own predicted class.
    key:       seed: a whole number, or a key of ``jax.random``.
    reference: which mask a tracker is scored by (see ``find_targets``).
    mode, chunk, mesh, dtype: as for ``scores``.
    The released code's way is ``estimator="released"``, the paper's ``estimator="paper"``, both with design "random".
    Raises InputError for unknown names, bad numbers, and a design that the estimator cannot read.
    """
    score = default_scores(model)[0] if score is None else score
    targets = find_targets(model, clips, target=target, reference=reference)
    support = Support.of(concepts)
    design = default_design(estimator) if design is None else design
    made = make_design(design, as_key(key), masks, concepts=concepts, ratio=ratio, estimator=estimator)
    settings = {"score": score, "targets": targets, "mode": mode, "mesh": mesh, "dtype": dtype}
    found = run_scores(model, clips, support, made, chunk=chunk, progress=progress, **settings)
    baseline = baselines(model, clips, support, **settings)
    name = next(iter(score_functions(score)))
    return importance_from_scores(
        name, design, made, found[name], baseline[name], clips.hashes, support.present(), estimator=estimator
    )


def make_design(
    name: str, key: Seed, masks: int, *, concepts: Concepts, ratio: float = 0.5, estimator: str | None = None
) -> Design:
    """A design by name. For "paper" and "released", "random" is the originals': absent concepts are players too, and
    every mask removes equally many.

    Raises InputError for an unknown name, for a share other than a half where a design has none, for one that removes
    no concept, and for an estimator that the design cannot be read with.
    """
    if name not in DESIGNS:
        raise InputError(f"unknown design {name!r}; known: {', '.join(DESIGNS)}")
    check_share(name, ratio)
    check_estimator(name, estimator)
    if name == "random" and estimator in ORIGINALS:
        share_of(len(concepts), ratio)
        return Random(key, masks, ratio, "all")
    if name == "random":
        return Random(key, masks, ratio)
    if name == "bernoulli":
        return Bernoulli(key, masks, ratio)
    if name == "paired":
        return Paired(key, masks)
    if name == "leave-one-out":
        return LeaveOneOut(len(concepts))
    groups = head_groups(concepts) if name == "heads" else None
    return Hadamard(key, masks, folded=name != "hadamard", groups=groups)


def default_design(estimator: str | None) -> str:
    """The originals' random for their estimators, else folded-hadamard."""
    return "random" if estimator in ORIGINALS else "folded-hadamard"


def check_estimator(design: str, estimator: str | None) -> None:
    """Raises InputError for an unknown estimator, and for one that does not fit a design. None: what fits.

    "paper" and "released" compare concepts by sums over all clips: a concept that a clip lacks has to be a player, or
    how many clips have it decides its rank.
    """
    if estimator is None:
        return
    if estimator not in ESTIMATORS:
        raise InputError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
    if estimator in ORIGINALS and design != "random":
        raise InputError(f"--estimator {estimator} reads --design random alone, not {design}; leave out --design")
    if (estimator == "drop") != (design == "leave-one-out"):
        raise InputError(f"estimator {estimator!r} does not fit design {design!r}; leave out one of them")


def check_share(design: str, ratio: float) -> None:
    """Raises InputError for a share of removed concepts that a design does not have."""
    check_ratio(ratio)
    if ratio != 0.5 and design not in UNBALANCED:
        raise InputError(f"--ratio {ratio}: design {design!r} has none to choose; take --design random or bernoulli")


def head_groups(concepts: Concepts) -> np.ndarray:
    """int [concept]: a number for each (site, head)."""
    places = np.stack([concepts.site, concepts.head], axis=1)
    return np.unique(places, axis=0, return_inverse=True)[1].ravel()


def baselines(
    model: Model,
    clips: Clips,
    support: Support,
    score: Scores,
    targets: Targets,
    mode: str = "zero",
    mesh: Mesh | None = None,
    dtype: str | None = None,
) -> dict[str, np.ndarray]:
    """name -> float64 [video]: scores with nothing removed."""
    rows = nothing_removed(support.concepts)
    found = run_scores(
        model, clips, support, rows, score=score, targets=targets, mode=mode, chunk=1, mesh=mesh, dtype=dtype
    )
    return {name: values[:, 0].astype(np.float64) for name, values in found.items()}


def importance_from_scores(
    score: str,
    design_name: str,
    design: Design,
    scores: np.ndarray,
    baseline: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    estimator: str | None = None,
) -> Importance:
    """Importance from scores [video, mask] that a design made; draws its rows again, clip by clip.

    scores: NaN anywhere: not run.  present: bool [video, concept].
    hashes: of the clips' content; clips of equal content are one draw in the standard errors.
    """
    name = estimator or default_estimator(design)
    estimates = [estimate(name, design, row, float(baseline[v]), hashes[v], present[v]) for v, row in enumerate(scores)]
    read = [len(rows_read(design, row, present[v])) for v, row in enumerate(scores)]
    return combine(score, name, design_name, estimates, read, present, baseline, hashes)
