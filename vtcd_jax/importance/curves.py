"""Removal curves (also called deletion or attribution curves): the score while concepts are removed, and its area.

If the ranking is right, the score falls early when the most important concepts are removed first (small area), and late
when the least important are removed first (large area); a random order lies between. Kowal et al. (2024), VTCD, figure
4 and table 1; layers: figure 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Int

from vtcd_jax.ablation import Support, removal_order, scores
from vtcd_jax.base.random import Seed, as_key, permutation
from vtcd_jax.base.showing import html_table, to_pandas
from vtcd_jax.base.statistics import half_width
from vtcd_jax.concepts import Concepts
from vtcd_jax.data import ClipSource
from vtcd_jax.models import InputError, Model
from vtcd_jax.runs import Step, Work
from vtcd_jax.scores import Class, Scores, Targets, default_scores, find_targets

CURVES = Step("curves", "curves", "pass")
ORDERS = ("most-first", "least-first", "random")


@dataclass(frozen=True)
class Curves:
    """Scores along the removal of concepts.

    score:    its name.
    removed:  int [step], concepts removed, from 0 to all; of a hierarchy: leaves.
    fraction: float [step], fraction of the concepts (leaves) removed, in [0, 1].
    orders:   names of the curves: "most-first" (most important first), "least-first", "random".
    scores:   float64 [order, video, step]; "random" is the mean over the random orders.
    random:   float64 [repeat, video, step], the random orders separately.
    areas:    float64 [order], area under the mean curve over ``fraction``, by the trapezoid rule; NaN where only some
              concepts were removed.
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

    def __repr__(self) -> str:
        areas = ", ".join(
            f"{order} {area:.3f} ± {half:.3f}"
            for order, area, half in zip(self.orders, self.areas, self.area_half_widths(), strict=True)
        )
        score, clips = self.score.replace("_", " "), self.scores.shape[1]
        return f"<removal curves of {self.removed[-1]} concepts by {score} on {clips} clips; areas: {areas}>"

    def _repr_html_(self) -> str:
        return html_table(repr(self)[1:-1], self.table(), len(self.removed))

    def table(self) -> dict[str, np.ndarray]:
        """A row per step, as columns: how many concepts are removed, and the mean score of each order over clips."""
        means = dict(zip(self.orders, self.mean(), strict=True))
        return {"removed": self.removed, "fraction": self.fraction, **means}

    def to_pandas(self) -> Any:
        """``table()`` as a data frame."""
        return to_pandas(self.table())

    def area_half_widths(self, level: float = 0.95) -> np.ndarray:
        """float64 [order]: half the width of Student's interval of each area, over clips."""
        clips = self.scores.shape[1]
        return half_width(self.areas_se, clips - 1, level) if clips > 1 else self.areas_se

    def mean(self) -> np.ndarray:
        """float64 [order, step]: over clips."""
        return self.scores.mean(1)


def attribution_curve(
    model: Model,
    clips: ClipSource,
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
    work: Work = Work(),
) -> Curves:
    """Curves of one score on ``clips`` for concepts ranked by ``order`` (most important first).

    order:   int, all concepts (``Importance.order()``), or some, such as those of a layer (``in_layer``): the others
             are then kept, and the areas are NaN, because such curves end at different scores.
    steps:   steps from no concept removed to all.
    repeats: number of random orders.
    key:     seed of the random orders.
    targets: target of each clip; default: the class ``target`` for all, else the result of ``find_targets``.
    mode, chunk, mesh, dtype, work: as for ``scores``.
    Raises InputError for an order with repeated or unknown concepts, and for concepts of other clips.
    """
    score = default_scores(model)[0] if score is None else score
    targets = find_targets(model, clips, target=target) if targets is None else targets
    return removal_curves(
        model, clips, concepts, order, score=score, steps=steps, repeats=repeats, key=key, targets=targets, mode=mode,
        chunk=chunk, mesh=mesh, dtype=dtype, work=work,
    )[0]  # fmt: skip


def removal_curves(
    model: Model,
    clips: ClipSource,
    concepts: Concepts,
    order: np.ndarray,
    *,
    score: Scores,
    targets: Targets,
    steps: int = 20,
    repeats: int = 5,
    key: Seed,
    mode: str = "zero",
    chunk: int | None = None,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    work: Work = Work(),
) -> tuple[Curves, ...]:
    """``attribution_curve`` for several scores from the same passes."""
    order = checked_order(order, len(concepts))
    removed = leaves_of(order, concepts.members)
    counts = removal_counts(len(removed), steps)
    gates = curve_gates(order, counts, repeats, key, concepts.members)
    passes = scores(
        model, clips, Support.of(concepts), gates, score=score, targets=targets, mode=mode, chunk=chunk, mesh=mesh,
        dtype=dtype, step=CURVES, work=work,
    )  # fmt: skip
    curves = [curves_from_scores(name, counts, len(removed), values, repeats) for name, values in passes.items()]
    if len(removed) < concepts.leaves:
        unknown = np.full(len(ORDERS), np.nan)
        curves = [replace(curve, areas=unknown, areas_se=unknown) for curve in curves]
    return tuple(curves)


def checked_order(order: np.ndarray | Sequence[int], concepts: int) -> np.ndarray:
    """The order as int [concept]. Raises InputError for unknown and repeated concepts."""
    numbers = np.asarray(order)
    if numbers.ndim != 1 or not len(numbers) or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError("an order holds the numbers of concepts, most important first; take `Importance.order()`")
    outside = numbers[(numbers < 0) | (numbers >= concepts)]
    if len(outside):
        raise InputError(f"the order has concept {outside[0]}, but there are {concepts}; rank these concepts again")
    values, counts = np.unique(numbers, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"the order has concept {values[counts > 1][0]} twice; give each concept once")
    return numbers


def removal_counts(concepts: int, steps: int) -> np.ndarray:
    """int [step]: number of removed concepts, from 0 to all, in at most ``steps`` even steps without repeats."""
    if steps < 1:
        raise InputError(f"--steps {steps} must be at least 1")
    return np.unique(np.round(np.linspace(0, concepts, steps + 1)).astype(int))


def in_layer(order: np.ndarray, concepts: Concepts, layer: int) -> np.ndarray:
    """The concepts of a ranking that lie in one layer."""
    return order[np.asarray(concepts.layers)[concepts.site[order]] == layer]


def leaves_of(order: Int[np.ndarray, "rank"], members: Bool[np.ndarray, "concept leaf"]) -> Int[np.ndarray, "place"]:
    """The leaves that an order of concepts removes, each once, where the first concept that has it stands.

    Leaves of a node stand in their own order, then by number. Without a hierarchy it is the order itself.
    """
    rank = np.full(len(members), len(order))
    rank[order] = np.arange(len(order))
    first = np.where(members[order], np.arange(len(order))[:, None], len(order)).min(0)
    leaves = np.flatnonzero(first < len(order))
    return leaves[np.lexsort((leaves, rank[leaves], first[leaves]))]


def curve_gates(
    order: np.ndarray,
    counts: np.ndarray,
    repeats: int,
    key: Seed,
    members: Bool[np.ndarray, "concept leaf"] | None = None,
) -> np.ndarray:
    """float32 gates [(2 + repeats) · step, concept]: most important first, least, then random.

    counts:  int [step], leaves removed: no token counts twice, and a node's removal is that of its leaves.
    members: of all concepts, where ``order`` has fewer or there is a hierarchy; None: each is a leaf of its own.
    Raises InputError as ``checked_order`` does.
    """
    members = np.eye(len(order), dtype=bool) if members is None else members
    order, root = checked_order(order, len(members)), as_key(key)
    if repeats < 1:
        raise InputError(f"--repeats {repeats} must be at least 1 (random orders)")
    randoms = [order[permutation(jax.random.fold_in(root, i), len(order))] for i in range(repeats)]
    orders = (leaves_of(one, members) for one in (order, order[::-1], *randoms))
    return np.concatenate([removal_order(one, counts, len(members)).gates for one in orders])


def curves_from_scores(name: str, counts: np.ndarray, concepts: int, scores: np.ndarray, repeats: int) -> Curves:
    """Curves from the scores [video, row] of ``curve_gates``."""
    rows = scores.astype(np.float64).reshape(len(scores), 2 + repeats, len(counts)).swapaxes(0, 1)
    by_order = np.stack([rows[0], rows[1], rows[2:].mean(0)])
    fraction = counts / concepts
    areas = np.trapezoid(by_order, fraction, axis=-1)  # [order, video]
    clips = areas.shape[1]
    error = areas.std(1, ddof=1) / np.sqrt(clips) if clips > 1 else np.full(len(areas), np.nan)
    return Curves(name, counts, fraction, ORDERS, by_order, rows[2:], areas.mean(1), error)


def released_area(curve: np.ndarray) -> float:
    """The released code's area: trapezoids over ``x_i = i / len(curve)``, which ends before 1. curve: [step]."""
    return float(np.trapezoid(curve, np.arange(len(curve)) / len(curve)))


def released_counts(concepts: int, per_step: int) -> np.ndarray:
    """The released code's removals: ``per_step`` more each time, the last step removes all."""
    steps = concepts // per_step + 1
    return np.array([0, *(min(per_step * (s + 1), concepts) if s < steps - 1 else concepts for s in range(steps))])


def layer_importance(order: np.ndarray, layer: np.ndarray) -> dict[int, float]:
    """Mean of (n - rank) / n over the concepts of each layer, rank from 0 (figure 8, normalised as in the paper).

    Raises InputError for an order without every concept of ``layer``.
    """
    if len(checked_order(order, len(layer))) < len(layer):
        raise InputError(f"the order has {len(order)} of {len(layer)} concepts; give all of them to compare layers")
    rank = np.argsort(order)
    normalised = (len(order) - rank) / len(order)
    return {int(block): float(normalised[layer == block].mean()) for block in np.unique(layer)}
