"""Attribution curves: the score while more and more concepts are removed, and the areas under them.

Removing the most important concepts first should hurt at once (small area), the least important first should hurt late
(large area); a random order lies between. Kowal et al. (2024), VTCD, figure 4 and table 1; layers: figure 8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.sharding import Mesh

from vtcd_jax.ablation.engine import scores as run_scores
from vtcd_jax.ablation.support import Support
from vtcd_jax.base.statistics import half_width
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import Clips
from vtcd_jax.models import InputError, Model, Seed, as_key
from vtcd_jax.scores.functions import Scores, default_scores, score_functions
from vtcd_jax.scores.targets import Class, Targets, find_targets

from .designs.random import removal_order

ORDERS = ("most-first", "least-first", "random")


@dataclass(frozen=True)
class Curves:
    """Scores along the removal of concepts.

    score:    what is drawn.  removed: int [step], concepts removed, from 0 to all.  fraction: float [step], in [0, 1].
    orders:   names of the curves: "most-first", "least-first", "random".
    scores:   float64 [order, video, step]; "random" is the mean over the random orders.
    random:   float64 [repeat, video, step], each random order on its own.
    areas:    float64 [order], area under the mean curve by the trapezoid rule over ``fraction``, x running to 1; NaN
              where only some concepts were removed.
    areas_se: float64 [order], its standard error over clips; NaN with one clip.
    """

    score: str
    removed: np.ndarray
    fraction: np.ndarray
    orders: tuple[str, ...]
    scores: np.ndarray
    random: np.ndarray
    areas: np.ndarray
    areas_se: np.ndarray

    def area_half_widths(self, level: float = 0.95) -> np.ndarray:
        """float64 [order]: half the width of Student's interval of each area, over clips."""
        clips = self.scores.shape[1]
        return half_width(self.areas_se, clips - 1, level) if clips > 1 else self.areas_se

    def mean(self) -> np.ndarray:
        """float64 [order, step]: over clips."""
        return self.scores.mean(1)


def attribution_curve(
    model: Model,
    clips: Clips,
    concepts: Concepts,
    order: np.ndarray,
    *,
    score: Scores | None = None,
    steps: int = 20,
    repeats: int = 5,
    key: Seed,
    target: Class | None = None,
    targets: Targets | None = None,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Curves:
    """Curves on ``clips`` for concepts ranked by ``order`` (most important first).

    order: int, all concepts (``Importance.order()``), or some, such as those of a layer (``in_layer``): then the others
    stay, and the areas are NaN, for curves that end elsewhere cannot be compared by them.  mode, chunk, mesh, dtype: as
    for ``scores``.
    steps: removals between nothing and everything.  repeats: random orders.  targets: what each clip's score is
    about, else the class ``target`` for all, else what ``find_targets`` finds.  key: seed of the random orders.
    Raises InputError for an order that repeats or does not know a concept, and for concepts of other clips.
    """
    order = checked_order(order, len(concepts))
    score = default_scores(model)[0] if score is None else score
    name = next(iter(score_functions(score)))
    targets = find_targets(model, clips, target=target) if targets is None else targets
    counts = removal_counts(len(order), steps)
    design = curve_gates(order, counts, repeats, key, len(concepts))
    support = Support.of(concepts)
    found = run_scores(
        model, clips, support, design, score=score, targets=targets, mode=mode, chunk=chunk, mesh=mesh, dtype=dtype,
        progress=progress,
    )  # fmt: skip
    curves = curves_from_scores(name, counts, len(order), found[name], repeats)
    if len(order) == len(concepts):
        return curves
    nothing = np.full(len(curves.orders), np.nan)
    return replace(curves, areas=nothing, areas_se=nothing)


def checked_order(order: np.ndarray | Sequence[int], concepts: int) -> np.ndarray:
    """The order as int [concept]. Raises InputError for other numbers than those of concepts, and for repeats."""
    found = np.asarray(order)
    if found.ndim != 1 or not len(found) or not np.issubdtype(found.dtype, np.integer):
        raise InputError("an order holds the numbers of concepts, most important first; take `Importance.order()`")
    outside = found[(found < 0) | (found >= concepts)]
    if len(outside):
        raise InputError(f"the order has concept {outside[0]}, and there are {concepts}; rank these concepts again")
    numbers, counts = np.unique(found, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"the order has concept {numbers[counts > 1][0]} twice; give each concept once")
    return found


def removal_counts(concepts: int, steps: int) -> np.ndarray:
    """int [step]: how many concepts are gone, from 0 to all, in at most ``steps`` even steps without repeats."""
    if steps < 1:
        raise InputError(f"--steps {steps} must be at least 1")
    return np.unique(np.round(np.linspace(0, concepts, steps + 1)).astype(int))


def in_layer(order: np.ndarray, concepts: Concepts, layer: int) -> np.ndarray:
    """The part of a ranking that lies in one layer."""
    return order[np.asarray(concepts.layers)[concepts.site[order]] == layer]


def curve_gates(
    order: np.ndarray, counts: np.ndarray, repeats: int, key: Seed, concepts: int | None = None
) -> np.ndarray:
    """float32 gates [(2 + repeats) · step, concept]: most first, least first, then the random orders.

    concepts: number of all concepts, where ``order`` has but some. Raises InputError as ``checked_order`` does.
    """
    order, root = checked_order(order, len(order) if concepts is None else concepts), as_key(key)
    if repeats < 1:
        raise InputError(f"--repeats {repeats} must be at least 1 (random orders)")
    randoms = [
        order[np.asarray(jax.random.permutation(jax.random.fold_in(root, i), len(order)))] for i in range(repeats)
    ]
    return np.concatenate([removal_order(o, counts, concepts).gates for o in (order, order[::-1], *randoms)])


def curves_from_scores(name: str, counts: np.ndarray, concepts: int, scores: np.ndarray, repeats: int) -> Curves:
    """Curves from the scores [video, row] of ``curve_gates``."""
    rows = scores.astype(np.float64).reshape(len(scores), 2 + repeats, len(counts)).swapaxes(0, 1)
    three = np.stack([rows[0], rows[1], rows[2:].mean(0)])
    fraction = counts / concepts
    areas = np.trapezoid(three, fraction, axis=-1)  # [order, video]
    clips = areas.shape[1]
    spread = areas.std(1, ddof=1) / np.sqrt(clips) if clips > 1 else np.full(len(areas), np.nan)
    return Curves(name, counts, fraction, ORDERS, three, rows[2:], areas.mean(1), spread)


def released_area(curve: np.ndarray) -> float:
    """The released code's area: trapezoids over ``x_i = i / len(curve)``, which stops short of 1. curve: [step]."""
    return float(np.trapezoid(curve, np.arange(len(curve)) / len(curve)))


def released_counts(concepts: int, per_step: int) -> np.ndarray:
    """The released code's removals: ``per_step`` more each time, the last step removes everything; 0 comes first."""
    steps = concepts // per_step + 1
    return np.array([0, *(min(per_step * (s + 1), concepts) if s < steps - 1 else concepts for s in range(steps))])


def layer_importance(order: np.ndarray, layer: np.ndarray) -> dict[int, float]:
    """Mean of (n - rank) / n over the concepts of each layer, rank from 0 (figure 8, normalised as in the paper).

    Raises InputError for an order that does not have every concept of ``layer`` once.
    """
    if len(checked_order(order, len(layer))) < len(layer):
        raise InputError(f"the order has {len(order)} of {len(layer)} concepts; layers are compared by all of them")
    rank = np.argsort(order)
    share = (len(order) - rank) / len(order)
    return {int(block): float(share[layer == block].mean()) for block in np.unique(layer)}
