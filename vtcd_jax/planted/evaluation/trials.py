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

Random concepts are the control: means over ``Settings.controls`` draws. They are ranked by their *exact* importance,
and their curves are computed without the network, which favours them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import jax
import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.importance import Support, Targets, scores
from vtcd_jax.importance.curves import curve_gates, curves_from_scores, removal_counts
from vtcd_jax.models import InputError, Model

from ..network.analytic import planned_importance, planned_scores
from ..network.truth import ACTING, PROPERTIES, planned_drops, token_masks
from .methods import Method
from .recovery import Counts, best, count
from .settings import Settings, VtcdSettings

Metrics = dict[str, float]


def trial(model: Model, clips: Clips, method: Method, settings: Settings, key: jax.Array) -> dict[str, Metrics]:
    """The metrics of the method ("found") and of its control ("control")."""
    half = len(clips) // 2
    first, other = clips[:half], clips[half:]
    keys = jax.random.split(key, 5)
    concepts = method.discover(model, first, keys[0])
    assigned = method.assign(model, other, concepts)
    _check(concepts, first)
    _check(assigned, other)
    importance = np.asarray(method.rank(model, first, concepts, keys[1]), np.float64)
    if importance.shape != (len(concepts),) or not np.isfinite(importance).all():
        raise InputError(f"a ranker must return a finite number for each of {len(concepts)} concepts; got {importance}")

    def measured(support: Support, gates: np.ndarray) -> np.ndarray:
        targets = Targets(other.labels)
        return scores(model, other, support, gates, score="logit", targets=targets, dtype="float32")["logit"]

    metrics = partial(_metrics, (first, other), steps=settings.steps, key=keys[2])
    found = metrics((concepts, assigned), importance, measured)
    exact = partial(planned_importance, first, key=keys[3])
    controls = []
    for control_key in jax.random.split(keys[4], settings.controls):
        one, two = jax.random.split(control_key)
        random = method.control(concepts, one), method.control(assigned, two)
        controls.append(metrics(random, exact(random[0]), partial(planned_scores, other)))
    control = {name: float(np.mean([c[name] for c in controls])) for name in found}
    agreement = correlation(importance, exact(concepts))
    return {"found": {**found, "agreement": agreement}, "control": {**control, "agreement": 1.0}}


def passes(settings: Settings, method: VtcdSettings) -> int:
    """Largest number of masked passes of a trial of VTCD."""
    half, other = settings.clips // 2, settings.clips - settings.clips // 2
    return half * (method.masks + 1) + other * 3 * (settings.steps + 1)


def _check(concepts: Concepts, clips: Clips) -> None:
    """Raises InputError for concepts that are not those of the clips."""
    for site, ids in concepts.ids.items():
        if len(ids) != len(clips) or ids.ndim != 6:
            wanted = f"[video, time, height, width, head, slot] of {len(clips)} clips"
            raise InputError(f"ids of {site!r} must be {wanted}; got {ids.shape}")
    check_same_clips("concepts", concepts.video_hashes, clips, "the method must find them in these clips")
    if not len(concepts):
        raise InputError("the method found no concepts")


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; 0 where either is constant."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


Scored = Callable[[Support, np.ndarray], np.ndarray]
"""(support, gates [mask, concept]) -> logits [video, mask] on the other half."""


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
        **_recovered(counts[0], counts[1]),
        **_ranked(counts[0], importance, planned_drops(clips[0])),
        **_areas(concepts[1], counts[1].size.sum(0), importance, scored, steps, key),
    }


def _recovered(first: Counts, other: Counts) -> Metrics:
    """Precision, recall and IoU, on the other half, of the concepts chosen on the first."""
    metrics: dict[str, Metrics] = {name: {} for name in ("precision", "recall", "iou", "own_head")}
    for p in PROPERTIES:
        index = best(first, p.name)
        metrics["precision"][p.name] = float(other.precision(p.name)[index])
        metrics["recall"][p.name] = float(other.recall(p.name)[index])
        metrics["iou"][p.name] = float(other.iou(p.name)[index])
        metrics["own_head"][p.name] = float(first.places[index[0]] in p.places)
    return _named(metrics)


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
    return _named(metrics)


def _named(metrics: Mapping[str, Metrics]) -> Metrics:
    """{"iou": {"red": 0.5, …}} as {"iou/red": 0.5, …, "iou/mean": …}."""
    return {
        f"{kind}/{name}": value
        for kind, values in metrics.items()
        for name, value in [*values.items(), ("mean", float(np.mean(list(values.values()))))]
    }


def _areas(
    concepts: Concepts, sizes: np.ndarray, importance: np.ndarray, scored: Scored, steps: int, key: jax.Array
) -> Metrics:
    """Areas under the removal curves; NaN if removing everything changes nothing. sizes: tokens [concept]."""
    order, total = np.argsort(-importance, kind="stable"), concepts.leaves
    counts = removal_counts(total, steps)
    gates = curve_gates(order, counts, 1, key, concepts.members)
    curves = curves_from_scores("logit", counts, total, scored(Support.of(concepts), gates), 1)
    mean = curves.mean()  # [order, step]
    start, end = mean[0, 0], mean[0, -1]
    tokens = ((1 - gates[:, :total]) @ sizes[:total] / max(sizes[:total].sum(), 1)).reshape(mean.shape)
    scaled = (mean - end) / (start - end) if start != end else np.full_like(mean, np.nan)
    return {
        f"{kind}/{name}": float(np.trapezoid(row, x))
        for kind, xs in (("area", np.broadcast_to(curves.fraction, mean.shape)), ("token_area", tokens))
        for name, row, x in zip(curves.orders, scaled, xs, strict=True)
    }
