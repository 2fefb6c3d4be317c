"""CRIS: concept importance by random masking (Kowal et al. 2024, VTCD, section 3.3 and equation 6).

Concepts of all layers and heads are removed together; a concept matters when the score is lower without it. ``cris``
ranks by one score; ``rank`` by several from the same passes, with the permutation null, convergence and early stopping.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation import Design, Support
from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import ClipSource
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Work
from vtcd_jax.scores import Class, Reference, Scores, Targets, default_scores, find_targets, score_functions

from .designs.slopes import Joined
from .estimation import (
    Convergence,
    Importance,
    Interactions,
    InterimAnalysis,
    Null,
    combine,
    convergence,
    estimate_clips,
    interim_analysis,
    interim_rows,
    pair_interactions,
    permutation_null,
)
from .estimation.estimators import Values, count_read, default_estimator
from .estimation.interactions import shows_pairs
from .measure import Passes, baselines, measure
from .named_designs import default_design, make_design

PAIRS = 100  # pairs of concepts that a ranking keeps


@dataclass(frozen=True)
class Ranking:
    """Results of ranking.

    importance:  one per score; concepts are ranked by the first.
    nulls:       one per score.
    convergence: score -> curve.
    interim:     interim analyses of a ranking that may stop early, the last one with the reason for stopping.
    interactions: of the most significant pairs of concepts, by the first score; None where the passes show none.
    """

    importance: tuple[Importance, ...]
    nulls: tuple[Null, ...]
    convergence: dict[str, Convergence]
    interim: tuple[InterimAnalysis, ...] = ()
    interactions: Interactions | None = None


def cris(
    model: Model,
    clips: ClipSource,
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
    work: Work = Work(),
) -> Importance:
    """Ranks concepts by masking, or by slopes at random gates.

    concepts:  found on, or assigned to, the same clips in the same order.
    score:     a name, or your own function, alone or by name.
    masks:     largest number of masked passes per clip; a pass for slopes costs as much as three.
    design:    one of ``DESIGNS`` (see ``designs``); default: "joined" for a smooth score by name, unless the estimator,
               a hierarchy of concepts or few masks need another (``default_design``).
    ratio:     fraction of concepts removed in each mask; other than a half only for "random" and "bernoulli".
    estimator: one of ``ESTIMATORS``; default: what fits the design.
    target:    class for all clips; default: each clip's predicted class.
    key:       seed: a whole number, or a key of ``jax.random``.
    reference: which mask a tracker is scored by (see ``find_targets``).
    mode, chunk, mesh, dtype, work: as for ``scores``.
    The released code is reproduced by ``estimator="released"``, the paper by ``estimator="paper"``, both with design
    "random".
    Raises InputError for concepts of other clips, unknown names, bad numbers, a design that does not fit the
    estimator, and a score without slope (0/1 scores) under the designs "slopes" and "joined".
    """
    score = default_scores(model)[0] if score is None else score
    if design is None:
        nested = concepts.parent is not None
        design = default_design(score_functions(score), masks, estimator=estimator, nested=nested)
    masking = make_design(design, key, masks, concepts=concepts, ratio=ratio, estimator=estimator)
    targets = find_targets(model, clips, target=target, reference=reference)
    settings = {"targets": targets, "mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype}
    support, name = Support.of(concepts), next(iter(score_functions(score)))
    baseline = baselines(model, clips, support, score=score, work=work, **settings)
    passes = measure(model, clips, support, masking, score=score, work=work, **settings)[name]
    return importance_from_scores(
        name, design, passes.design, passes.values, baseline[name], clips.hashes, support.present(),
        estimator=estimator,
    )  # fmt: skip


def rank(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    design: Design | Joined,
    *,
    score: Scores,
    design_name: str,
    estimator: str | None = None,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    key: Seed = 0,
    seed: int = 0,
    stop_top: int | None = None,
    work: Work = Work(),
) -> Ranking:
    """Ranks concepts by several scores from the same passes. "joined" reads all but the first from the masks alone.

    design:   see ``make_design``; design_name: its name.  estimator: None takes what fits the design.
    key:      of the permutations of the null.  seed: of the intervals of convergence and interim analyses.
    stop_top: stop once this many concepts are separated from the rest, or noise is small; None: use all masks.
    The other arguments, and what is raised, are as for ``cris``.
    """
    support, key = Support.of(concepts), as_key(key)
    names, present = tuple(score_functions(score)), support.present()
    targets = find_targets(model, clips) if targets is None else targets
    settings = {"targets": targets, "mode": mode, "chunk": chunk, "mesh": mesh, "dtype": dtype, "work": work}
    run = partial(measure, model, clips, support, design, score=score, **settings)
    baseline = baselines(model, clips, support, score=score, **settings)
    read = partial(_importances, names, design_name, clips, present, baseline, estimator)
    interim: list[InterimAnalysis] = []
    if stop_top is None:
        passes = run()
    else:
        passes = {}
        for number, rows in enumerate(interim_rows(design, present), 1):
            passes = run(rows=rows)
            interim.append(interim_analysis(read(passes)[0], number, top=stop_top, seed=seed))
            if interim[-1].reason:
                break
        else:
            interim[-1] = dataclasses.replace(interim[-1], reason="all masks are used")
    importance = read(passes)
    nulls, curves = [], {}
    for result in importance:
        name, own = result.score, passes[result.score]
        shared = (result.estimator, own.design, own.values)
        nulls.append(permutation_null(*shared, clips.hashes, present, key=key))
        curves[name] = convergence(*shared, baseline[name], clips.hashes, present, seed=seed)
    pairs = _interactions(passes[names[0]], names[0], clips.hashes, present)
    return Ranking(importance, tuple(nulls), curves, tuple(interim), pairs)


def _interactions(passes: Passes, score: str, hashes: Sequence[str], present: np.ndarray) -> Interactions | None:
    """The first ``PAIRS``; of slopes and masks together the masks alone are read."""
    design, values = passes.design, passes.values
    if isinstance(design, Joined):
        design, values = design.masks, [masked for masked, _ in values]
    if not shows_pairs(design):
        return None
    try:
        return pair_interactions(design, np.asarray(values), hashes, present, score=score).first(PAIRS)
    except InputError:  # too few masks and clips
        return None


def _importances(
    names: Sequence[str],
    design_name: str,
    clips: ClipSource,
    present: np.ndarray,
    baseline: dict[str, np.ndarray],
    estimator: str | None,
    passes: Mapping[str, Passes],
) -> tuple[Importance, ...]:
    return tuple(
        importance_from_scores(
            name, design_name, passes[name].design, passes[name].values, baseline[name], clips.hashes, present,
            estimator=estimator,
        )
        for name in names
    )  # fmt: skip


def importance_from_scores(
    score: str,
    design_name: str,
    design: Design | Joined,
    scores: np.ndarray | Sequence[Values],
    baseline: np.ndarray,
    hashes: Sequence[str],
    present: np.ndarray,
    *,
    estimator: str | None = None,
) -> Importance:
    """Importance from scores [video, mask] of a design (NaN: not run). The design's rows are drawn again, clip by clip.

    scores: for ``Slopes`` and ``Joined`` what ``estimate`` reads, a clip each.
    hashes: of the clips' content; clips of equal content are one draw in the standard errors.
    present: bool [video, concept].
    """
    name = estimator or default_estimator(design)
    estimates, shared = estimate_clips(name, design, scores, baseline, hashes, present)
    read = [count_read(design, row, present[v]) for v, row in enumerate(scores)]
    return combine(score, name, design_name, estimates, read, present, baseline, hashes, shared)
