"""How well a ranker's importance agrees with the exact one, on the method's own concepts.

    agreement   Pearson's correlation over all concepts
    order       Spearman's rank correlation over the concepts that have an effect
    top         fraction of the ``TOP`` concepts with the largest exact importance among the ranker's first ``TOP``

Most concepts have no effect at all: the order in which a ranker puts those is chance and is not judged. If fewer than
``TOP`` have a positive importance, all of them are sought among as many.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from vtcd_jax.base.statistics import ranks

from ..evaluation.metrics import Metrics, correlation

TOP = 10
EFFECT = 1e-9

Importance = Float[np.ndarray, "concept"]


def agreement(importance: Importance, exact: Importance) -> Metrics:
    """The three metrics; 0 where nothing has an effect."""
    acting = np.abs(exact) > EFFECT
    order = correlation(ranks(importance[acting]), ranks(exact[acting])) if acting.sum() > 1 else 0.0
    sought = int(min(TOP, (exact > EFFECT).sum()))
    best, first = (set(np.argsort(-x, kind="stable")[:sought].tolist()) for x in (exact, importance))
    top = len(best & first) / sought if sought else 0.0
    return {"agreement": correlation(importance, exact), "order": order, "top": top}
