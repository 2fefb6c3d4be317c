"""Ridge and multinomial probes reach the optimum that scikit-learn reaches; held-out samples choose the penalty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import linear_model

from vtcd_jax import probes
from vtcd_jax.base.errors import InputError
from vtcd_jax.probes import heldout


def classes(samples: int, features: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % count
    return rng.normal(size=(count, features))[labels] + 1.5 * rng.normal(size=(samples, features)) + 2, labels


@pytest.mark.parametrize("samples, features", [(30, 6), (10, 40)])
@pytest.mark.parametrize("standardise", [False, True])
def test_ridge_is_that_of_scikit_learn_for_every_penalty(samples: int, features: int, standardise: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(samples, features)) * np.geomspace(0.1, 10, features) + 5
    y = rng.normal(size=(samples, 3))
    found = probes.ridge(X, y, [0.1, 10.0], standardise=standardise)
    scale = X.std(0) if standardise else np.ones(features)
    for row, l2 in enumerate((0.1, 10.0)):
        oracle = linear_model.Ridge(alpha=l2, solver="svd").fit(X / scale, y)
        np.testing.assert_allclose(found.weights[row], (oracle.coef_ / scale).T, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.intercept[row], oracle.intercept_, rtol=1e-4, atol=1e-5)
    single = probes.ridge(X, y[:, 0], 10.0, standardise=standardise)
    np.testing.assert_allclose(single.weights, found.weights[1, :, 0], rtol=1e-5, atol=1e-7)
    assert single.intercept.shape == ()


@pytest.mark.parametrize("samples, features", [(30, 6), (10, 40)])
def test_ridge_without_penalty_is_the_least_squares_of_least_norm(samples: int, features: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(samples, features)), rng.normal(size=samples)
    X[:, 0] = X[:, 1]
    expected = np.linalg.lstsq(X - X.mean(0), y - y.mean(), rcond=None)[0]
    np.testing.assert_allclose(probes.ridge(X, y, 0).weights, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "samples, features, count, standardise", [(60, 7, 4, True), (24, 50, 3, False), (20, 5, 2, True)]
)
def test_multinomial_reaches_the_objective_of_scikit_learn(
    samples: int, features: int, count: int, standardise: bool
) -> None:
    X, labels = classes(samples, features, count)
    scale = X.std(0) if standardise else np.ones(features)
    for l2 in (0.01, 1.0):
        found = probes.multinomial(X, labels, l2, standardise=standardise)
        W, b = np.asarray(found.weights, float) * scale[:, None], np.asarray(found.intercept, float)
        logits = X / scale @ W + b
        # For two classes scikit-learn has one vector, the difference of ours, of which the penalty is then a half.
        strength = 2 / l2 if count == 2 else 1 / l2
        oracle = linear_model.LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(X / scale, labels)
        V, c = oracle.coef_.T, oracle.intercept_
        if count == 2:
            V, c = np.concatenate([-V, V], axis=1) / 2, np.r_[-c, c] / 2
        value, theirs = (
            -(F - np.logaddexp.reduce(F, axis=1, keepdims=True))[np.arange(samples), labels].sum()
            + l2 / 2 * (U**2).sum()
            for F, U in ((logits, W), (X / scale @ V + c, V))
        )
        assert found.converged
        assert value == pytest.approx(float(found.objective), rel=1e-5)
        assert value == pytest.approx(theirs, rel=1e-6)


def test_golden_probe(golden: Path) -> None:
    data = np.load(golden / "probes" / "evaluation.npz")
    found = probes.multinomial(data["train_x"], data["train_y"], 1.0)
    np.testing.assert_allclose(found.weights.T, data["probe_coef"], atol=1e-4)
    logits = data["test_x"] @ np.asarray(found.weights) + np.asarray(found.intercept)
    np.testing.assert_allclose(logits, data["probe_logits_test"], atol=5e-4)
    assert (found.classes[logits.argmax(1)] == data["test_y"]).mean() == pytest.approx(float(data["probe_top1"]))


def test_labels_may_be_any_whole_numbers_and_the_order_of_samples_does_not_matter() -> None:
    X, labels = classes(30, 5, 3)
    first, second = probes.multinomial(X, labels), probes.multinomial(X[::-1], 10 * labels[::-1] - 7)
    assert second.classes.tolist() == [-7, 3, 13]
    np.testing.assert_allclose(first.weights, second.weights, atol=1e-5)


def test_choice_of_the_penalty_prefers_a_large_one_for_noise_and_a_small_one_for_a_clear_relation() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 8))
    grid = [1e-3, 1e4]
    assert probes.choose_ridge(X, rng.normal(size=30), grid).best == 1e4
    assert probes.choose_ridge(X, X @ rng.normal(size=8), grid).best == 1e-3
    noise = probes.choose_multinomial(X, rng.permutation(np.arange(30) % 3), grid)
    assert noise.best > 1e-3 and noise.loss[0] > noise.loss[1]
    clear = probes.choose_multinomial(X, (X[:, 0] > 0).astype(int), grid)
    assert clear.best < 1e4 and clear.loss.argmin() == grid.index(clear.best)


def test_held_out_loss_is_that_of_probes_that_never_saw_the_sample() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(11, 3)), rng.normal(size=11)
    fold = heldout.folds(11, 4, 2, 0)
    loss = np.empty(11)
    for k in range(4):
        oracle = linear_model.Ridge(alpha=2.0).fit(X[fold != k], y[fold != k])
        loss[fold == k] = (oracle.predict(X[fold == k]) - y[fold == k]) ** 2
    found = probes.choose_ridge(X, y, [2.0], folds=4, seed=2)
    np.testing.assert_allclose(found.loss, [loss.mean()], rtol=1e-5)
    np.testing.assert_allclose(found.error, [loss.std(ddof=1) / np.sqrt(11)], rtol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: probes.ridge(np.ones((3, 2)), np.ones(4), 1.0), r"y: shape \(4,\), but X has 3"),
        (lambda: probes.ridge(np.ones((3, 2)), np.ones(3), -1.0), "l2=.*at least 0"),
        (lambda: probes.ridge(np.ones((3, 2)), np.ones(3), []), "one number or a list"),
        (lambda: probes.ridge(np.ones((3, 2)), [1, np.nan, 2], 1.0), "y: 1 of 3"),
        (lambda: probes.multinomial(np.ones((3, 2)), [1, 1, 1]), "labels: all are 1"),
        (lambda: probes.multinomial(np.ones((3, 2)), [0.5, 1, 1]), "whole numbers"),
        (lambda: probes.multinomial(np.ones((3, 2)), [0, 1]), "one label for each"),
        (lambda: probes.multinomial(np.ones((3, 2)), [0, 1, 1], 0.0), "above 0"),
        (lambda: probes.choose_multinomial(np.ones((3, 2)), [0, 1, 1], [1.0]), "class 0 has one sample"),
    ],
)
def test_wrong_input_is_refused_in_one_line(call, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
