"""Convex NMF follows the reference step by step, and keeps what its theory promises."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from vtcd_jax.concepts import convex_nmf
from vtcd_jax.concepts.dictionaries import fit_heads
from vtcd_jax.concepts.dictionaries.convex_nmf import factorise, initial_factors
from vtcd_jax.concepts.dictionaries.nnls import nonnegative_codes
from vtcd_jax.concepts.dictionaries.products import choose_form, split_products
from vtcd_jax.models import InputError


def start(reference, case):
    return reference[f"{case}_X"], int(reference[f"{case}_K"]), (reference[f"{case}_G0"], reference[f"{case}_H0"])


def problem(seed, samples=20, features=6, k=3):
    """Mixed-sign clusters and a random start: X, labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, samples).astype(np.int32)
    labels[:k] = np.arange(k)
    X = rng.normal(size=(k, features))[labels] * 2 + rng.normal(size=(samples, features))
    return X.astype(np.float32), labels


@pytest.mark.parametrize("case", "abc")
def test_factors_and_errors_follow_the_reference(golden, case):
    reference = np.load(golden / "vtcd" / "cnmf.npz")
    X, k, init = start(reference, case)
    norm = np.linalg.norm(X)
    for steps in (1, 10, 100, 500):
        fit = convex_nmf(X, k, init=init, max_steps=steps, tol=0.0)
        np.testing.assert_allclose(
            np.asarray(fit.weights), reference[f"{case}_G_{steps}"], atol=1e-5, err_msg=f"{steps}"
        )
        np.testing.assert_allclose(fit.codes, reference[f"{case}_H_{steps}"], atol=1e-3, err_msg=f"{steps}")
        np.testing.assert_allclose(fit.dictionary.T, reference[f"{case}_W_{steps}"], atol=1e-3, err_msg=f"{steps}")
        errors = np.concatenate([[reference[f"{case}_ferr0"]], reference[f"{case}_ferr"][:steps]])
        np.testing.assert_allclose(np.asarray(fit.error) * norm, errors, rtol=1e-5)
        assert int(fit.steps) == steps and not fit.converged


@pytest.mark.parametrize("case", "abc")
def test_all_steps_end_where_the_reference_ends(golden, case):
    reference = np.load(golden / "vtcd" / "cnmf.npz")
    X, k, init = start(reference, case)
    fit = convex_nmf(X, k, init=init, max_steps=10_000, tol=0.0)
    np.testing.assert_allclose(fit.error[-1] * np.linalg.norm(X), reference[f"{case}_ferr_final"], rtol=1e-2)
    clear = reference[f"{case}_margin_argmaxG"] > 1e-3
    np.testing.assert_array_equal(np.asarray(fit.weights).argmax(1)[clear], reference[f"{case}_concept_argmaxG"][clear])


@pytest.mark.parametrize("case", "abc")
def test_the_stopping_rule_gives_away_less_than_one_percent(golden, case):
    reference = np.load(golden / "vtcd" / "cnmf.npz")
    X, k, init = start(reference, case)
    fit = convex_nmf(X, k, init=init)
    assert fit.converged and int(fit.steps) < 2000
    assert fit.error[-1] * np.linalg.norm(X) < 1.01 * reference[f"{case}_ferr_final"]
    np.testing.assert_array_equal(fit.error[int(fit.steps) :], fit.error[int(fit.steps)])


def test_the_start_from_clusters_is_that_of_the_reference(golden):
    reference = np.load(golden / "vtcd" / "cnmf.npz")
    for case in "abc":
        G0, H0 = reference[f"{case}_G0"], reference[f"{case}_H0"]
        G, H = initial_factors(jnp.asarray(H0.argmax(0).astype(np.int32)), len(H0))
        np.testing.assert_allclose(G, G0, atol=1e-7)
        np.testing.assert_allclose(H, H0, atol=1e-7)


@given(seed=st.integers(0, 2**16), scale=st.sampled_from([1e-4, 1.0, 1e4]))
@settings(max_examples=15)
def test_factors_stay_non_negative_and_the_error_never_rises(seed, scale):
    X, labels = problem(seed)
    G, H = initial_factors(jnp.asarray(labels), 3)
    fit = factorise(jnp.asarray(X * np.float32(scale)), G, H, 0.0, max_steps=200)
    assert (fit.weights >= 0).all() and (fit.codes >= 0).all()
    error = np.asarray(fit.error, np.float64)
    assert (np.diff(error) <= 1e-6 * error[:-1]).all()
    np.testing.assert_allclose(fit.dictionary, fit.weights.T @ (X * np.float32(scale)), rtol=1e-4, atol=1e-4 * scale)
    rebuilt = np.asarray(fit.codes).T @ np.asarray(fit.dictionary)
    np.testing.assert_allclose(np.linalg.norm(X - rebuilt / scale) / np.linalg.norm(X), error[-1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("samples", "form"), [(5, "gram"), (20, "gram"), (20, "features")])
def test_products_with_the_two_parts_of_the_gram_matrix(samples, form):
    """However they are taken: the entrywise parts of X Xᵀ, or those that need no such matrix."""
    X, _ = problem(0, samples)
    V = np.random.default_rng(1).uniform(size=(3, samples)).astype(np.float32)
    gram, whole = X @ X.T, np.abs(X) @ np.abs(X).T if form == "features" else np.abs(X @ X.T)
    with jax.default_matmul_precision("highest"):
        found = split_products(jnp.asarray(X), form)(jnp.asarray(V), jnp.asarray(V @ X))
    np.testing.assert_allclose(found[0], V @ (whole + gram) / 2, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], V @ (whole - gram) / 2, rtol=1e-4, atol=1e-4)


def test_many_samples_are_factorised_without_a_matrix_of_samples_by_samples():
    """The error never rises on that path either, and ends where the published one ends."""
    X, labels = problem(5)
    G, H = initial_factors(jnp.asarray(labels), 3)
    one = partial(factorise, jnp.asarray(X), G, H, 0.0, max_steps=500)
    published, other = one(form="gram"), one(form="features")
    error = np.asarray(other.error, np.float64)
    assert (np.diff(error) <= 1e-6 * error[:-1]).all()
    np.testing.assert_allclose(error[-1], published.error[-1], rtol=5e-3)
    assert not np.allclose(other.error[:50], published.error[:50], rtol=1e-4), "they are not the same steps"
    for form, there in (("gram", True), ("features", False)):
        assert ("f32[20,20]" in str(jax.make_jaxpr(partial(factorise, max_steps=3, form=form))(X, G, H))) == there
    assert [choose_form("auto", samples, 64) for samples in (360, 2048, 2049)] == ["gram", "gram", "features"]
    assert choose_form("auto", 2049, 768) == choose_form("gram", 10**6, 1) == "gram"


@given(seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_permuting_tubelets_permutes_rows(seed):
    X, labels = problem(seed)
    order = np.random.default_rng(seed).permutation(len(X))
    fits = [
        factorise(jnp.asarray(X[rows]), *initial_factors(jnp.asarray(labels[rows]), 3), 0.0, max_steps=60)
        for rows in (np.arange(len(X)), order)
    ]
    np.testing.assert_allclose(fits[1].weights, fits[0].weights[order], atol=1e-4)
    np.testing.assert_allclose(fits[1].codes, fits[0].codes[:, order], atol=1e-3)
    np.testing.assert_allclose(fits[1].dictionary, fits[0].dictionary, atol=1e-3)


def test_padding_changes_nothing_and_stays_zero():
    """Three heads of different sizes and numbers in one call, against each alone."""
    sizes, numbers = (20, 13, 7), (3, 4, 2)
    X, labels = np.zeros((3, 24, 6), np.float32), np.full((3, 24), -1, np.int32)
    for head, (size, k) in enumerate(zip(sizes, numbers, strict=True)):
        X[head, :size], labels[head, :size] = problem(head, size, k=k)
    together = fit_heads(X, labels, np.array(numbers, np.int32), concepts=5, max_steps=80, tol=0.0)
    for head, (size, k) in enumerate(zip(sizes, numbers, strict=True)):
        own = jnp.asarray(X[head, :size])
        alone = factorise(own, *initial_factors(jnp.asarray(labels[head, :size]), k), 0.0, max_steps=80)
        weights, codes = np.array(together.weights[head]), np.array(together.codes[head])
        np.testing.assert_allclose(weights[:size, :k], alone.weights, atol=1e-4)
        np.testing.assert_allclose(codes[:k, :size], alone.codes, atol=1e-3)
        np.testing.assert_allclose(together.error[head], alone.error, rtol=1e-4)
        weights[:size, :k], codes[:k, :size] = 0, 0
        assert not weights.any() and not codes.any()


def test_heads_stop_at_their_own_step():
    X, labels = np.zeros((2, 20, 6), np.float32), np.zeros((2, 20), np.int32)
    X[0], labels[0] = problem(0)
    X[1] = X[0]  # all in one cluster: converges at once
    k = np.array([3, 1], np.int32)
    fit = fit_heads(X, labels, k, concepts=3, max_steps=2000, tol=1e-4)
    alone = factorise(jnp.asarray(X[1]), *initial_factors(jnp.asarray(labels[1]), 1), 1e-4)
    assert fit.steps[1] == alone.steps < fit.steps[0]


def test_features_without_any_variation_are_survived():
    for X in (np.zeros((5, 3), np.float32), np.ones((5, 3), np.float32)):
        fit = convex_nmf(X, 2, max_steps=50)
        assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(fit))


def test_planted_clusters_are_found_from_scratch(golden):
    reference = np.load(golden / "vtcd" / "cnmf.npz")
    fit = convex_nmf(reference["a_X"], 4, key=jax.random.key(3))
    found, truth = np.asarray(fit.weights).argmax(1), reference["a_true_cluster"]
    pairs = {(int(a), int(b)) for a, b in zip(found, truth, strict=True)}
    assert len(pairs) == 4 == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def test_bad_input_is_refused():
    X, _ = problem(0)
    for call, words in (
        (lambda: convex_nmf(X, 0), "1 … 20"),
        (lambda: convex_nmf(X, 21), "1 … 20"),
        (lambda: convex_nmf(np.where(X > 1, np.nan, X).astype(np.float32), 2), "NaN"),
        (lambda: convex_nmf(X, 2, init=(np.ones((20, 3), np.float32), np.ones((3, 20), np.float32))), "init"),
        (lambda: convex_nmf(X, 2, init=(-np.ones((20, 2), np.float32), np.ones((2, 20), np.float32))), "init"),
    ):
        with pytest.raises(InputError, match=words):
            call()


@given(seed=st.integers(0, 2**16))
@settings(max_examples=15)
def test_codes_solve_non_negative_least_squares(seed):
    rng = np.random.default_rng(seed)
    X, W = rng.normal(size=(9, 8)).astype(np.float32), rng.normal(size=(5, 8)).astype(np.float32)
    expected = np.stack([nnls(W.T.astype(float), x.astype(float))[0] for x in X])
    padded = np.concatenate([W, np.zeros((2, 8), np.float32)])
    found = np.asarray(nonnegative_codes(jnp.asarray(X), jnp.asarray(padded)))
    np.testing.assert_allclose(found[:, :5], expected * np.linalg.norm(W, axis=1), atol=1e-4)
    assert not found[:, 5:].any()
    stretched = W * np.array([1, 10, 0.1, 3, 1], np.float32)[:, None]
    again = nonnegative_codes(jnp.asarray(X), jnp.asarray(np.concatenate([stretched, padded[5:]])))
    np.testing.assert_allclose(again, found, atol=1e-4, err_msg="scale of the dictionary")
