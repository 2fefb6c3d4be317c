"""Concept activation vectors: normals of linear classifiers that separate a concept's samples from others.

Kim et al. 2018. Many concepts against many random sets are solved together, in float64, without chance: the same
samples give the same vector, whatever their order and whatever stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vtcd_jax.base.errors import InputError

from . import checks, heldout
from .solvers.products import combine, grams, stacked
from .solvers.solving import DIRECT, Fits, Method, Settings, fit_grams, fit_rows

METHODS: tuple[str, ...] = get_args(Method)
CHUNK_BYTES = 256 * 2**20  # for the matrices of the pairs of one call
PADDING = 8  # set sizes are padded to multiples, so that other sizes rarely compile again


@struct.dataclass
class Cav:
    """Concept activation vectors with their accuracy; all arrays may have leading axes [concept, set].

    vector:            float [..., feature], points to the positives, in the units of the features; not normalised.
    intercept:         float [...]; a sample counts as positive where ``x . vector + intercept > 0``.
    accuracy:          float [...], fraction of held-out samples on the right side; each sample is held out once.
    accuracy_error:    float [...], its standard error: binomial, of fewer samples, as the folds share training samples
                       (``heldout.effective``).
    accuracy_interval: float [..., 2], its Wilson interval (95 %) for as many samples.
    positive_accuracy: float [...], the same for the positives.
    negative_accuracy: float [...], the same for the negatives.
    chance:            float [...], fraction of samples on the larger side.
    p_chance:          float [...], probability of this accuracy or more by guessing at ``chance``, for as many.
    gradient_norm:     float [...], of the objective at the vector, over ``sum_i |(x_i, 1)|``.
    steps:             int [...], Newton steps that the vector took.
    converged:         bool [...], the vector's fit and all held-out fits reached the tolerance.

    The fields from ``accuracy`` to ``p_chance`` are None where ``folds`` is 0.
    """

    vector: jax.Array
    intercept: jax.Array
    accuracy: jax.Array | None
    accuracy_error: jax.Array | None
    accuracy_interval: jax.Array | None
    positive_accuracy: jax.Array | None
    negative_accuracy: jax.Array | None
    chance: jax.Array | None
    p_chance: jax.Array | None
    gradient_norm: jax.Array
    steps: jax.Array
    converged: jax.Array
    method: str = struct.field(pytree_node=False)
    l2: float = struct.field(pytree_node=False)
    standardise: bool = struct.field(pytree_node=False)
    folds: int = struct.field(pytree_node=False)


def cav(
    positives: Any,
    negatives: Any,
    *,
    method: str = "logistic",
    l2: float | int = 1.0,
    standardise: bool = False,
    folds: int = 5,
    seed: int | jax.Array = 0,
    tol: float = 1e-10,
    max_steps: int = 200,
) -> Cav:
    """The vector that separates ``positives`` [sample, feature] from ``negatives`` [sample, feature].

    Minimises ``sum of losses + l2/2 |w|^2`` with a free intercept. Methods (t is 1 or -1, f the score):

        logistic         log(1 + exp(-t f))     LogisticRegression(C=1/l2) of scikit-learn
        squared-hinge    max(0, 1 - t f)^2      LinearSVC(C=1/l2) with a free intercept
        hinge            max(0, 1 - t f)        SVC(kernel="linear", C=1/l2); SGDClassifier's alpha is l2 / samples
        closed-form      (f - t)^2 / 2          Ridge(alpha=l2) on the signs: Fisher's discriminant for equal sides
        mean-difference  -                      difference of the means, threshold halfway; uses no l2

    The accuracy comes from stratified folds, drawn by ``seed`` from the samples' places (fewer where a side has fewer
    samples; 0: none). ``standardise`` scales every feature to variance 1 on the samples a fit trains on; the vector is
    then returned in the features' own units. Newton's method, in float64; see ``newton``, ``hinge``, ``conjugate``.

    Raises InputError for fewer than two samples a side, different numbers of features, NaN or infinite features, an
    unknown method and options outside their range.
    """
    result = cavs(
        [positives],
        [negatives],
        method=method,
        l2=l2,
        standardise=standardise,
        folds=folds,
        seed=seed,
        tol=tol,
        max_steps=max_steps,
    )
    return jax.tree.map(lambda a: a[0, 0], result)


def cavs(
    positives: Sequence[Any],
    negatives: Sequence[Any],
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    method: str = "logistic",
    l2: float | int = 1.0,
    standardise: bool = False,
    folds: int = 5,
    seed: int | jax.Array = 0,
    tol: float = 1e-10,
    max_steps: int = 200,
) -> Cav:
    """``cav`` of every set of ``positives`` against every set of ``negatives``, solved together.

    Sets may differ in size; each is [sample, feature] with the same features. The result's arrays have leading axes
    [positive set, negative set], or [pair] where ``pairs`` lists (positive set, negative set). Every vector is the one
    that ``cav`` gives. Memory: the sets, 128 MiB of slices, 256 MiB of systems, and the inner products of the sets.
    """
    sets = _checked_sets(positives, negatives)
    checks.one_of("method", method, METHODS)
    if folds != 0:
        checks.whole("folds", folds, 2)
    settings = Settings(method, bool(standardise), _tolerance(tol), checks.whole("max_steps", max_steps, 1))  # type: ignore[arg-type]
    penalty = checks.penalty(l2)
    chosen = _checked_pairs(pairs, sets)
    layout = _Layout.make(sets, chosen, folds, seed)
    with jax.enable_x64(True):
        fits, vectors = _fit(sets, chosen, layout, penalty, settings)
    shape = (len(chosen),) if pairs is not None else (len(positives), len(negatives))
    arrays = {
        "vector": vectors,
        "intercept": fits.intercept,
        **layout.accuracies(fits.scores),
        "gradient_norm": fits.gradient_norm[:, 0],
        "steps": fits.steps[:, 0],
        "converged": fits.converged.all(axis=1),
    }
    shaped: dict[str, Any] = {
        name: None if a is None else jnp.asarray(a.reshape(*shape, *a.shape[1:])) for name, a in arrays.items()
    }
    return Cav(**shaped, method=method, l2=penalty, standardise=settings.standardise, folds=folds)


def _checked_sets(positives: Sequence[Any], negatives: Sequence[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    sides = []
    for side, sets in (("positives", positives), ("negatives", negatives)):
        if not len(sets):
            raise InputError(f"{side}: no set of samples; give at least one")
        names = [side if len(sets) == 1 else f"{side}[{i}]" for i in range(len(sets))]
        sides.append([(name, checks.samples(name, X, minimum=2)) for name, X in zip(names, sets, strict=True)])
    checks.same_features(*sides[0], *sides[1])
    return [X for _, X in sides[0]], [X for _, X in sides[1]]


def _checked_pairs(pairs: Sequence[tuple[int, int]] | None, sets: tuple[list, list]) -> np.ndarray:
    counts = len(sets[0]), len(sets[1])
    if pairs is None:
        return np.stack(np.meshgrid(np.arange(counts[0]), np.arange(counts[1]), indexing="ij"), -1).reshape(-1, 2)
    chosen = np.asarray(pairs)
    if chosen.ndim != 2 or chosen.shape[1] != 2 or not len(chosen) or chosen.dtype.kind not in "iu":
        raise InputError("pairs: give at least one (positive set, negative set), counted from 0")
    if (chosen < 0).any() or (chosen >= counts).any():
        wrong = tuple(int(i) for i in chosen[((chosen < 0) | (chosen >= counts)).any(1)][0])
        raise InputError(
            f"pairs: {wrong} is none; there are {counts[0]} sets of positives and {counts[1]} of negatives"
        )
    return chosen


def _tolerance(tol: float) -> float:
    if not 0 < tol < 1:
        raise InputError(f"tol={tol!r}: give a number between 0 and 1")
    return float(tol)


class _Layout(struct.PyTreeNode):
    """How pairs are padded: ``sizes`` (s, t); ``real`` and ``fold`` [pair, n], -1 for padding; ``numbers`` [pair]."""

    sizes: tuple[int, int]
    sign: np.ndarray
    real: np.ndarray
    fold: np.ndarray
    numbers: np.ndarray

    @classmethod
    def make(cls, sets: tuple[list, list], pairs: np.ndarray, folds: int, seed: int | jax.Array) -> _Layout:
        sizes = tuple(-(-max(len(X) for X in side) // PADDING) * PADDING for side in sets)
        counts = np.array([[len(sets[0][i]), len(sets[1][j])] for i, j in pairs])
        numbers = np.minimum(folds, counts.min(axis=1))
        fold = np.full((len(pairs), sum(sizes)), -1)
        drawn: dict[tuple[int, ...], np.ndarray] = {}
        for row, count, number in zip(fold, counts, numbers, strict=True):
            for stratum, start, size in ((1, 0, count[0]), (0, sizes[0], count[1])):
                key = (int(size), int(number), stratum)
                if key not in drawn:
                    drawn[key] = heldout.folds(*key[:2], seed, stratum) if number else np.zeros(size, np.int64)
                row[start : start + size] = drawn[key]
        sign = np.repeat([1.0, -1.0], sizes)
        return cls((sizes[0], sizes[1]), sign, fold >= 0, fold, numbers)

    def weights(self) -> np.ndarray:
        """float64 [pair, fit, n]: all samples, then all but each fold."""
        held = self.fold[:, None] == np.arange(-1, self.numbers.max())[None, :, None]
        return np.where(held, 0.0, self.real[:, None].astype(np.float64))

    def accuracies(self, scores: np.ndarray) -> dict[str, np.ndarray | None]:
        """The fields of ``Cav`` that the held-out scores [pair, fit, n] give."""
        names = ("accuracy", "accuracy_error", "accuracy_interval", "positive_accuracy", "negative_accuracy")
        if not self.numbers.any():
            return dict.fromkeys((*names, "chance", "p_chance"))
        fit = np.where(self.real, self.fold + 1, 0)
        score = np.take_along_axis(scores, fit[:, None], axis=1)[:, 0]
        right = self.real & ((score > 0) == (self.sign > 0))
        sides = [self.real & (self.sign > 0), self.real & (self.sign < 0)]
        correct, count = np.array([[(right & side).sum(1), side.sum(1)] for side in sides]).swapaxes(0, 1)
        fraction = correct.sum(0) / count.sum(0)
        worth = heldout.effective(count.sum(0), self.numbers)
        values = (
            fraction,
            heldout.standard_error(fraction * worth, worth),
            heldout.wilson(fraction * worth, worth),
            correct[0] / count[0],
            correct[1] / count[1],
        )
        chance = count.max(0) / count.sum(0)
        p = heldout.p_above(fraction * worth, worth, chance)
        return {**dict(zip(names, values, strict=True)), "chance": chance, "p_chance": p}


def _fit(
    sets: tuple[list, list], pairs: np.ndarray, layout: _Layout, l2: float, settings: Settings
) -> tuple[Fits, np.ndarray]:
    """Fits of all pairs, and their vectors [pair, feature]."""
    samples, features = sum(layout.sizes), sets[0][0].shape[1]
    weights, penalty = layout.weights(), jnp.asarray(l2)
    dual = features > samples and not settings.standardise
    if dual and (samples <= DIRECT or settings.method in ("hinge", "mean-difference")):
        products = grams(*sets, layout.sizes)
        chunks = []
        for rows in _chunks(len(pairs), 8 * samples**2 * (4 * weights.shape[1] + 3)):
            i, j = pairs[rows].T
            within, between = (products[0][i], products[1][j]), products[2][i, :, j]
            chunks.append(fit_grams(within, between, layout.real[rows], layout.sign, weights[rows], penalty, settings))
        fits = _joined(chunks, len(pairs))
        return fits, combine(sets, pairs, fits.coefficients, layout.sizes[0])
    chunks = []
    for rows in _chunks(len(pairs), 8 * samples * features * (3 * weights.shape[1] + 1)):
        pair_sets = [[side[k] for k in pairs[rows, axis]] for axis, side in enumerate(sets)]
        X = np.concatenate([stacked(s, size) for s, size in zip(pair_sets, layout.sizes, strict=True)], axis=1)
        chunks.append(fit_rows(X, layout.real[rows], layout.sign, weights[rows], penalty, settings))
    fits = _joined(chunks, len(pairs))
    return fits, fits.coefficients


def _chunks(count: int, pair_bytes: int) -> Iterator[np.ndarray]:
    """Indices of pairs, in chunks that fit into ``CHUNK_BYTES``, padded to one shape with the last index."""
    size = min(count, max(1, CHUNK_BYTES // pair_bytes))
    return (np.minimum(np.arange(start, start + size), count - 1) for start in range(0, count, size))


def _joined(chunks: list[Fits], count: int) -> Fits:
    return Fits(*(np.concatenate([np.asarray(a) for a in arrays])[:count] for arrays in zip(*chunks, strict=True)))
