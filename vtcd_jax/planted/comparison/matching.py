"""Every concept once: properties matched with concepts, and the price of a large dictionary.

    unit      a concept in a head; a concept that spans several heads is several units
    matched   mean over properties of the IoU of the unit matched with it, 0 for a property without one

The matching has the largest sum of IoU (the assignment problem; Kuhn 1955) on the first half of the clips, and its IoU
is that on the other half. A unit serves one property. Nodes of a tree are units like any others: an ancestor and its
descendant may be matched with a property each, and count as two.

    price = min(1, planted / units) ^ 1/2        score = matched · price

where ``planted`` counts the pairs of a property and a head that contains it: a method that works head by head may
report a property once in each. Twice as many units cost a factor of 0.71, four times as many a half. Without a price, a
dictionary of all sets of tokens would be perfect.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from ..evaluation.metrics import Metrics
from ..evaluation.recovery import Counts

EXPONENT = 0.5


def match(iou: Float[np.ndarray, "property unit"]) -> dict[int, int]:
    """property -> unit, each unit once, with the largest sum; pairs without overlap are left out."""
    rows, columns = linear_sum_assignment(iou, maximize=True)
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if iou[r, c] > 0}


def price(planted: int, units: int) -> float:
    """In (0, 1]."""
    return min(1.0, planted / max(units, 1)) ** EXPONENT


def matched(first: Counts, other: Counts, planted: int) -> Metrics:
    """matched/P of every property, matched/mean, units, price and score. planted: see above."""
    used = (first.size > 0) | (other.size > 0)
    names = list(first.total)
    pairs = match(np.stack([first.iou(name)[used] for name in names]))
    values = {name: float(other.iou(name)[used][pairs[p]]) if p in pairs else 0.0 for p, name in enumerate(names)}
    mean, cost = float(np.mean(list(values.values()))), price(planted, int(used.sum()))
    return {
        **{f"matched/{name}": value for name, value in values.items()},
        "matched/mean": mean, "units": float(used.sum()), "price": cost, "score": mean * cost,
    }  # fmt: skip
