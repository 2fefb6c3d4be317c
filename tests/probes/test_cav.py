"""A concept vector is the one optimum of its objective, whatever stands beside it, and its accuracy is honest."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC, LinearSVC

from vtcd_jax import probes
from vtcd_jax.base.errors import InputError
from vtcd_jax.probes import heldout

pytestmark = pytest.mark.compile

METHODS = [m for m in probes.METHODS if m != "mean-difference"]


def two_sets(samples: tuple[int, int], features: int, seed: int = 0, shift: float = 0.6):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=features) * shift
    return rng.normal(size=(samples[0], features)) + 3 + direction, rng.normal(size=(samples[1], features)) + 3


def objective(method: str, P: np.ndarray, N: np.ndarray, w: np.ndarray, b: float, l2: float) -> float:
    t = np.repeat([1.0, -1.0], [len(P), len(N)])
    f = np.concatenate([P, N]) @ w + b
    losses = {
        "logistic": np.logaddexp(0, -t * f),
        "squared-hinge": np.maximum(0, 1 - t * f) ** 2,
        "hinge": np.maximum(0, 1 - t * f),
        "closed-form": (f - t) ** 2 / 2,
    }
    return losses[method].sum() + l2 / 2 * w @ w


def scikit(method: str, P: np.ndarray, N: np.ndarray, l2: float) -> tuple[np.ndarray, float]:
    X, t = np.concatenate([P, N]), np.repeat([1, -1], [len(P), len(N)])
    model = {
        "logistic": LogisticRegression(C=1 / l2, tol=1e-9, max_iter=10_000),
        "squared-hinge": LinearSVC(C=1 / l2, tol=1e-9, max_iter=1_000_000, intercept_scaling=1e3),
        "hinge": SVC(C=1 / l2, kernel="linear", tol=1e-9),
        "closed-form": Ridge(alpha=l2),
    }[method].fit(X, t)
    return np.ravel(model.coef_), float(np.ravel(model.intercept_)[0])


@pytest.mark.parametrize("samples, features", [((30, 20), 6), ((9, 12), 40)])
@pytest.mark.parametrize("method", METHODS)
def test_vector_reaches_the_objective_of_scikit_learn(method: str, samples: tuple[int, int], features: int) -> None:
    P, N = two_sets(samples, features)
    for l2 in (0.1, 5.0):
        found = probes.cav(P, N, method=method, l2=l2, folds=0)
        w, b = scikit(method, P, N, l2)
        mine = objective(method, P, N, np.asarray(found.vector, float), float(found.intercept), l2)
        theirs = objective(method, P, N, w, b, l2)
        assert found.converged
        assert mine <= theirs * (1 + 1e-6)
        if method != "squared-hinge":  # LinearSVC has a penalty on its intercept
            np.testing.assert_allclose(found.vector, w, atol=2e-4 * float(np.linalg.norm(w)))


def test_mean_difference_points_from_mean_to_mean() -> None:
    P, N = two_sets((7, 9), 5)
    found = probes.cav(P, N, method="mean-difference")
    vector = P.mean(0) - N.mean(0)
    np.testing.assert_allclose(found.vector, vector, rtol=1e-5)
    np.testing.assert_allclose(found.intercept, -vector @ (P.mean(0) + N.mean(0)) / 2, rtol=1e-5)


@pytest.mark.parametrize("case", "abcd")
def test_golden_hinge_and_logistic_vectors(case: str, golden: Path) -> None:
    data = np.load(golden / "probes" / "cav.npz")
    count = min(len(data[f"{case}_pos"]), len(data[f"{case}_neg"]))
    P, N = data[f"{case}_pos"][:count], data[f"{case}_neg"][:count]
    alpha = float(data["alpha"]) * 2 * count
    for method, l2 in (("hinge", alpha), ("logistic", 1.0)):
        found, vector = probes.cav(P, N, method=method, l2=l2, folds=0), data[f"{case}_{method}_cav"]
        np.testing.assert_allclose(found.vector, vector, atol=1e-5 * float(np.linalg.norm(vector)))
        np.testing.assert_allclose(found.intercept, -data[f"{case}_{method}_bias"], atol=1e-4)
    hinge = probes.cav(P, N, method="hinge", l2=alpha, folds=0)
    value = objective("hinge", P, N, np.asarray(hinge.vector, float), float(hinge.intercept), alpha) / (2 * count)
    np.testing.assert_allclose(value, data[f"{case}_hinge_objective"], rtol=1e-4)


def test_golden_video_vectors(golden: Path) -> None:
    data = np.load(golden / "probes" / "tcav.npz")
    sets = {name: data[f"acts_conv2/{name}"].reshape(16, -1) for name in ("static_concept", "dynamic_concept")}
    random = data["acts_conv2/random_0"].reshape(16, -1)
    cases = {name: (X, random) for name, X in sets.items()}
    cases["relative"] = (sets["dynamic_concept"], sets["static_concept"])
    for name, (P, N) in cases.items():
        found, vector = probes.cav(P, N), data[f"conv2/{name}/cav"]
        np.testing.assert_allclose(found.vector, vector, atol=1e-6 * float(np.linalg.norm(vector)))
        np.testing.assert_allclose(found.intercept, data[f"conv2/{name}/intercept_flipped"], rtol=1e-5)


@pytest.mark.parametrize(
    "method, features, standardise, largest",
    [("logistic", 60, False, 17), ("hinge", 60, False, 8), ("logistic", 9, True, 8)],
)
def test_many_sets_at_once_are_what_each_gives_alone(
    method: str, features: int, standardise: bool, largest: int, monkeypatch
) -> None:
    concepts = [two_sets((n, 2), features, seed)[0] for seed, n in enumerate((5, 7, 8))]
    random = [two_sets((2, n), features, seed)[1] for seed, n in enumerate((6, largest))]
    options = {"method": method, "standardise": standardise}
    monkeypatch.setattr("vtcd_jax.probes.concept_vectors.CHUNK_BYTES", 1)
    chunked = probes.cavs(concepts, random, **options)
    monkeypatch.undo()
    pairs = [(2, 1), (0, 0)]
    chosen = probes.cavs(concepts, random, pairs=pairs, **options)
    for row, (i, j) in enumerate(pairs):
        alone = probes.cav(concepts[i], random[j], **options)
        for together in (jax.tree.map(lambda a: a[i, j], chunked), jax.tree.map(lambda a: a[row], chosen)):  # noqa: B023
            np.testing.assert_allclose(together.vector, alone.vector, atol=1e-6)
            np.testing.assert_allclose(together.intercept, alone.intercept, atol=1e-5)
            assert together.accuracy == alone.accuracy and together.converged


def test_slices_of_the_features_change_nothing(monkeypatch) -> None:
    P, N = two_sets((6, 9), 50)
    whole = probes.cav(P, N)
    monkeypatch.setattr("vtcd_jax.probes.solvers.products.SLICE_BYTES", 8 * 24 * 7)
    np.testing.assert_allclose(probes.cav(P, N).vector, whole.vector, rtol=1e-5, atol=1e-7)


def test_same_samples_give_the_same_bits_and_their_order_does_not_matter() -> None:
    P, N = two_sets((12, 9), 30)
    first, second = probes.cav(P, N, seed=3), probes.cav(P, N, seed=jax.numpy.int32(3))
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    shuffled = probes.cav(P[::-1], np.roll(N, 4, axis=0), folds=0)
    np.testing.assert_allclose(shuffled.vector, first.vector, atol=1e-6)


def test_sides_exchanged_give_the_opposite_vector() -> None:
    P, N = two_sets((12, 9), 30)
    np.testing.assert_allclose(probes.cav(P, N).vector, -np.asarray(probes.cav(N, P).vector), atol=1e-6)


@pytest.mark.parametrize("features", [5, 40])
def test_features_in_other_units_are_separated_alike_after_standardising(features: int) -> None:
    P, N = two_sets((12, 9), features)
    units = np.geomspace(1e-2, 1e2, features)
    plain = probes.cav(P, N, standardise=True)
    scaled = probes.cav(P * units, N * units, standardise=True)
    np.testing.assert_allclose(np.asarray(scaled.vector) * units, plain.vector, rtol=1e-4, atol=1e-6)
    assert scaled.accuracy == plain.accuracy


def test_a_constant_feature_gets_no_weight() -> None:
    P, N = two_sets((12, 9), 5)
    P[:, 2] = N[:, 2] = 0.1
    for standardise in (False, True):
        assert abs(float(probes.cav(P, N, standardise=standardise).vector[2])) < 1e-8


def test_large_problems_by_conjugate_gradients_give_the_same_vector(monkeypatch) -> None:
    P, N = two_sets((17, 14), 9)
    for method in ("logistic", "squared-hinge"):
        direct = probes.cav(P, N, method=method, standardise=True)
        monkeypatch.setattr("vtcd_jax.probes.solvers.solving.DIRECT", 4)
        iterated = probes.cav(P, N, method=method, standardise=True, max_steps=199)  # another setting compiles anew
        monkeypatch.undo()
        assert iterated.converged
        np.testing.assert_allclose(iterated.vector, direct.vector, atol=1e-6)


def test_separable_sets_are_held_out_correctly() -> None:
    P, N = two_sets((10, 10), 8, shift=8.0)
    found = probes.cav(P, N)
    assert found.accuracy == found.positive_accuracy == found.negative_accuracy == 1
    assert found.accuracy_error == 0 and float(found.p_chance) < 0.01
    worth = 20 / (1 + 5 / 4)
    np.testing.assert_allclose(np.asarray(found.accuracy_interval), [worth / (worth + 1.959964**2), 1], rtol=1e-6)


def test_labels_drawn_at_random_are_at_chance_and_the_interval_covers_it() -> None:
    rng = np.random.default_rng(1)
    sets = [rng.normal(size=(20, 5)) for _ in range(200)]
    found = probes.cavs(sets[:100], sets[100:], pairs=[(i, i) for i in range(100)])
    low, high = np.moveaxis(np.asarray(found.accuracy_interval), -1, 0)
    assert abs(float(found.accuracy.mean()) - 0.5) < 0.03
    assert ((low <= 0.5) & (high >= 0.5)).mean() > 0.9
    assert (np.asarray(found.p_chance) < 0.05).mean() < 0.1


def test_accuracy_is_that_of_classifiers_that_never_saw_the_sample() -> None:
    P, N = two_sets((7, 8), 30, shift=0.2)
    found = probes.cav(P, N, folds=3, seed=5)
    folds = [heldout.folds(len(X), 3, 5, stratum) for X, stratum in ((P, 1), (N, 0))]
    right = 0
    for k in range(3):
        other = probes.cav(P[folds[0] != k], N[folds[1] != k], folds=0)
        right += (P[folds[0] == k] @ np.asarray(other.vector) + float(other.intercept) > 0).sum()
        right += (N[folds[1] == k] @ np.asarray(other.vector) + float(other.intercept) <= 0).sum()
    assert float(found.accuracy) == pytest.approx(right / 15)


def test_a_fit_stopped_early_says_so() -> None:
    P, N = two_sets((12, 9), 5)
    found = probes.cav(P, N, max_steps=1)
    assert not found.converged and found.steps == 1 and found.gradient_norm > 1e-10


@pytest.mark.parametrize("features, method", [(3, "hinge"), *((40, m) for m in probes.METHODS)])
def test_equal_sides_and_extreme_features_give_finite_vectors(method: str, features: int) -> None:
    P, N = two_sets((4, 3), features)
    for sides in ((P, P), (P * 0, N * 0), (P * 1e6, N * 1e6), (P[:2], N[:2])):
        found = probes.cav(*sides, method=method)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    "positives, negatives, options, message",
    [
        (np.ones((1, 3)), np.ones((4, 3)), {}, "positives: 1 samples, at least 2"),
        (np.ones((4, 3)), np.ones((0, 3)), {}, "negatives: 0 samples, at least 2"),
        (np.ones((4, 3)), np.ones((4, 2)), {}, "negatives has 2 features, positives has 3"),
        (np.ones((4, 3)), np.array([[1, 2, 3], [np.nan, 1, 2]]), {}, "negatives: 1 of 2 samples hold NaN"),
        (np.ones((4, 3)), np.full((4, 3), np.inf, np.float16), {}, "hold NaN or infinity"),
        (np.ones((4, 3, 2)), np.ones((4, 3)), {}, "flatten or pool"),
        (np.ones((4, 3), complex), np.ones((4, 3)), {}, "not features"),
        (np.ones((4, 3)), np.ones((4, 3)), {"method": "logstic"}, "did you mean 'logistic'"),
        (np.ones((4, 3)), np.ones((4, 3)), {"l2": 0}, "l2=0.*above 0"),
        (np.ones((4, 3)), np.ones((4, 3)), {"l2": np.nan}, "l2=nan"),
        (np.ones((4, 3)), np.ones((4, 3)), {"folds": 1}, "folds=1"),
        (np.ones((4, 3)), np.ones((4, 3)), {"seed": -1}, "seed=-1"),
        (np.ones((4, 3)), np.ones((4, 3)), {"tol": 0.0}, "tol=0"),
    ],
)
def test_wrong_input_is_refused_in_one_line(positives, negatives, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        probes.cav(positives, negatives, **options)
    assert "\n" not in str(error.value)


def test_wrong_sets_and_pairs_are_named() -> None:
    sets = [np.ones((3, 2)), np.ones((1, 2))]
    with pytest.raises(InputError, match=r"negatives\[1\]: 1 samples"):
        probes.cavs(sets[:1], sets)
    with pytest.raises(InputError, match="no set of samples"):
        probes.cavs([], sets)
    with pytest.raises(InputError, match=r"pairs: \(0, 1\) is none"):
        probes.cavs(sets[:1], sets[:1], pairs=[(0, 1)])
