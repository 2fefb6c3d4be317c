"""Metrics that both versions share: what is recovered, the areas of removal curves, and checks of methods' results."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import jax
import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.importance import Support
from vtcd_jax.importance.curves import curve_gates, curves_from_scores, removal_counts
from vtcd_jax.models import InputError

from .recovery import Counts, Place, best

Metrics = dict[str, float]
Scored = Callable[[Support, np.ndarray], np.ndarray]
"""(support, gates [mask, concept]) -> logits [video, mask] on the other half."""


def check_concepts(concepts: Concepts, clips: Clips) -> None:
    """Raises InputError for concepts that are not those of the clips."""
    for site, ids in concepts.ids.items():
        if len(ids) != len(clips) or ids.ndim != 6:
            wanted = f"[video, time, height, width, head, slot] of {len(clips)} clips"
            raise InputError(f"ids of {site!r} must be {wanted}; got {ids.shape}")
    check_same_clips("concepts", concepts.video_hashes, clips, "the method must find them in these clips")
    if not len(concepts):
        raise InputError("the method found no concepts")


def checked_importance(importance: object, concepts: int) -> np.ndarray:
    """A ranker's result, float64 [concept]. Raises InputError for another number of values, and for NaN."""
    values = np.asarray(importance, np.float64)
    if values.shape != (concepts,) or not np.isfinite(values).all():
        raise InputError(f"a ranker must return a finite number for each of {concepts} concepts; got {values}")
    return values


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; 0 where either is constant."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 and other.std() > 0 else 0.0


def recovered(first: Counts, other: Counts, properties: Mapping[str, Collection[Place]]) -> Metrics:
    """Precision, recall and IoU, on the other half, of the concepts chosen on the first. properties: name -> heads that
    were planted for it."""
    metrics: dict[str, Metrics] = {name: {} for name in ("precision", "recall", "iou", "own_head")}
    for name, places in properties.items():
        index = best(first, name)
        metrics["precision"][name] = float(other.precision(name)[index])
        metrics["recall"][name] = float(other.recall(name)[index])
        metrics["iou"][name] = float(other.iou(name)[index])
        metrics["own_head"][name] = float(first.places[index[0]] in places)
    return named(metrics)


def named(metrics: Mapping[str, Metrics]) -> Metrics:
    """{"iou": {"red": 0.5, …}} as {"iou/red": 0.5, …, "iou/mean": …}."""
    return {
        f"{kind}/{name}": value
        for kind, values in metrics.items()
        for name, value in [*values.items(), ("mean", float(np.mean(list(values.values()))))]
    }


def areas(
    concepts: Concepts, sizes: np.ndarray, importance: np.ndarray, scored: Scored, steps: int, key: jax.Array
) -> Metrics:
    """Areas under the removal curves; NaN if removing everything changes nothing. sizes: tokens [concept]."""
    order, total = np.argsort(-importance, kind="stable"), concepts.leaves
    counts = removal_counts(total, steps)
    gates = curve_gates(order, counts, 1, key, concepts.members)
    curves = curves_from_scores("logit", counts, total, scored(Support.of(concepts), gates), 1)
    mean = curves.mean()  # [order, step]
    start, end = mean[0, 0], mean[0, -1]
    leaves = sizes[:total]
    tokens = ((1 - gates[:, :total]) @ leaves / max(leaves.sum(), 1)).reshape(mean.shape)
    scaled = (mean - end) / (start - end) if start != end else np.full_like(mean, np.nan)
    return {
        f"{kind}/{name}": float(np.trapezoid(row, x))
        for kind, xs in (("area", np.broadcast_to(curves.fraction, mean.shape)), ("token_area", tokens))
        for name, row, x in zip(curves.orders, scaled, xs, strict=True)
    }
