"""One method on one instance: concepts are found, ranked and chosen on one half of the clips, evaluated on the other.

Metrics by name; "P" is a property, "mean" is the mean over all:

    precision/P  recall/P  iou/P  own_head/P   of the concept with the best IoU on the first half, as in version 1
    matched/P  units  price  score             every concept once (``matching``)
    agreement  order  top                      the ranker on the method's own concepts (``agreement``)
    area/…  token_area/…                       under the removal curves of the logit on the other half, as in version 1
    concepts                                   their number

Scores of the curves and exact importance are computed without the network, which a test shows to give the same. The
control is random groups as in version 1: the same sizes, ranked exactly. Random centres are a method of their own.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from vtcd_jax.concepts import Concepts
from vtcd_jax.importance import Support
from vtcd_jax.models import Model

from ..circuits.importance import planned_importance, planned_scores
from ..circuits.instance import Instance
from ..circuits.properties import NAMES
from ..evaluation.controls import random_groups
from ..evaluation.methods import Method
from ..evaluation.metrics import Metrics, areas, check_concepts, checked_importance, recovered
from ..evaluation.recovery import count
from .agreement import agreement
from .matching import matched


def trial(planted: Instance, model: Model, method: Method, *, steps: int, controls: int) -> dict[str, Metrics]:
    """The metrics of the method ("found") and of its random groups ("groups")."""
    half = len(planted.clips) // 2
    first, other = planted[:half], planted[half:]
    keys = jax.random.split(jax.random.key(planted.seed % 2**31), 4)
    concepts = method.discover(model, first.clips, keys[0])
    check_concepts(concepts, first.clips)
    assigned = method.assign(model, other.clips, concepts)
    check_concepts(assigned, other.clips)
    importance = checked_importance(method.rank(model, first.clips, concepts, keys[1]), len(concepts))
    metrics = partial(_metrics, (first, other), steps=steps, key=keys[2])
    drawn = [
        metrics(random_groups(method, (concepts, assigned), key), None) for key in jax.random.split(keys[3], controls)
    ]
    return {
        "found": metrics((concepts, assigned), importance),
        "groups": {name: float(np.mean([c[name] for c in drawn])) for name in drawn[0]},
    }


def _metrics(
    halves: tuple[Instance, Instance],
    concepts: tuple[Concepts, Concepts],
    importance: np.ndarray | None,
    *,
    steps: int,
    key: jax.Array,
) -> Metrics:
    """Metrics of one set of concepts. halves, concepts: (first, other). importance: None is the exact one."""
    first, other = (count(c, half.masks()) for c, half in zip(concepts, halves, strict=True))
    wiring = halves[0].wiring
    exact = planned_importance(halves[0], Support.of(concepts[0]))
    importance = exact if importance is None else importance
    return {
        "concepts": float(len(concepts[0])),
        **recovered(first, other, {name: wiring.places(name) for name in NAMES}),
        **matched(first, other, wiring.planted),
        **agreement(importance, exact),
        **areas(concepts[1], other.size.sum(0), importance, partial(planned_scores, halves[1]), steps, key),
    }
