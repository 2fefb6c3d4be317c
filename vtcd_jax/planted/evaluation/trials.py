"""One method on the clips of one seed: concepts are found, ranked and chosen on one half, and evaluated on the other.

Metrics by name; "P" is a property, "mean" is the mean over all:

    precision/P  recall/P  iou/P   of the concept with the best IoU on the first half, on the other half
    own_head/P                     1 if that concept is in a head that was planted for it, else 0
    rank/P                         of the concept with the best IoU in the head through which P acts: 1 = most important
    ahead/P                        fraction of the concepts in heads without effect that it is ranked before
    density/P                      its importance per token divided by that of P's tokens, both as fractions of the
    total
                                   importance above 0: about 1 if its tokens have the effect of P's tokens
    area/most-first, …             area under the removal curve of the logit on the other half, over the fraction
                                   of concepts removed, scaled so that 1 is the unmodified logit and 0 that with
                                   everything removed; "random": a random order
    token_area/most-first, …       the same over the fraction of *tokens* removed, so that the size of concepts counts
    agreement                      correlation of the ranker's importance with the exact one (``planned``)
    concepts                       their number

Two controls (``methods``, ``controls``): random centres and random groups, means over ``Settings.controls`` draws. They
are ranked by their *exact* importance, and their curves are computed without the network, which favours them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import jax
import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.importance import Support, Targets, scores
from vtcd_jax.models import Model

from ..network.analytic import planned_importance, planned_scores
from ..network.truth import ACTING, PROPERTIES, planned_drops, token_masks
from .controls import random_centres, random_groups
from .methods import Method
from .metrics import Metrics, Scored, areas, check_concepts, checked_importance, correlation, named, recovered
from .recovery import Counts, best, count
from .settings import Settings, VtcdSettings


def trial(model: Model, clips: Clips, method: Method, settings: Settings, key: jax.Array) -> dict[str, Metrics]:
    """The metrics of the method ("found") and of its controls, random centres ("centres") and groups ("groups")."""
    half = len(clips) // 2
    first, other = clips[:half], clips[half:]
    keys = jax.random.split(key, 5)
    concepts = method.discover(model, first, keys[0])
    assigned = method.assign(model, other, concepts)
    check_concepts(concepts, first)
    check_concepts(assigned, other)
    importance = checked_importance(method.rank(model, first, concepts, keys[1]), len(concepts))

    def measured(support: Support, gates: np.ndarray) -> np.ndarray:
        targets = Targets(other.labels)
        return scores(model, other, support, gates, score="logit", targets=targets, dtype="float32")["logit"]

    metrics = partial(_metrics, (first, other), steps=settings.steps, key=keys[2])
    found = metrics((concepts, assigned), importance, measured)
    exact = partial(planned_importance, first, key=keys[3])
    drawn = jax.random.split(keys[4], settings.controls)
    groups = [random_groups(method, (concepts, assigned), control_key) for control_key in drawn]
    centres = random_centres(model, (first, other), (concepts, assigned), drawn)
    controls = {"centres": centres, "groups": groups}
    agreement = {"agreement": correlation(importance, exact(concepts))}
    results = {"found": found | agreement}
    for kind, random in controls.items():
        each = [metrics(pair, exact(pair[0]), partial(planned_scores, other)) for pair in random]
        results[kind] = {name: float(np.mean([one[name] for one in each])) for name in found} | {"agreement": 1.0}
    return results


def passes(settings: Settings, method: VtcdSettings) -> int:
    """Largest number of masked passes of a trial of VTCD."""
    half, other = settings.clips // 2, settings.clips - settings.clips // 2
    return half * (method.masks + 1) + other * 3 * (settings.steps + 1)


def _metrics(
    clips: tuple[Clips, Clips],
    concepts: tuple[Concepts, Concepts],
    importance: np.ndarray,
    scored: Scored,
    *,
    steps: int,
    key: jax.Array,
) -> Metrics:
    """Metrics of one set of concepts. clips, concepts: (first half, other half)."""
    counts = [count(c, token_masks(half)) for c, half in zip(concepts, clips, strict=True)]
    return {
        "concepts": float(len(concepts[0])),
        **recovered(counts[0], counts[1], {p.name: p.places for p in PROPERTIES}),
        **_ranked(counts[0], importance, planned_drops(clips[0])),
        **areas(concepts[1], counts[1].size.sum(0), importance, scored, steps, key),
    }


def _ranked(counts: Counts, importance: np.ndarray, drops: Mapping[str, float]) -> Metrics:
    """Ranks and densities of the concepts that act; ties count against them."""
    acting = np.array([place in ACTING for place in counts.places])
    idle = counts.size[acting].sum(0) == 0
    metrics: dict[str, Metrics] = {"rank": {}, "ahead": {}, "density": {}}
    total = np.maximum(importance, 0).sum()
    for p in PROPERTIES:
        if p.acts is not None:
            _, concept = best(counts, p.name, [p.places[p.acts]])
            above = importance >= importance[concept]
            metrics["rank"][p.name] = float(above.sum())
            metrics["ahead"][p.name] = float(1 - above[idle].mean()) if idle.any() else 1.0
            fraction = importance[concept] / total if total > 0 else 0.0
            planned = drops[p.name] / sum(drops.values()) / counts.total[p.name]
            metrics["density"][p.name] = float(fraction / counts.size[:, concept].sum() / planned)
    return named(metrics)
