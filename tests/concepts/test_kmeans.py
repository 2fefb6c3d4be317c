"""k-means and silhouettes: as good as the references, and blind to padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_samples as sklearn_silhouettes

from vtcd_jax.concepts.clustering.kmeans import kmeans, plus_plus
from vtcd_jax.concepts.clustering.silhouettes import silhouette, silhouette_samples

pytestmark = pytest.mark.compile

CLUSTERS = {"a": 5, "b": 7, "c": 3, "d": 3}


@pytest.mark.parametrize("case", "abcd")
def test_the_objective_is_at_most_that_of_the_reference(golden, case):
    reference = np.load(golden / "vtcd" / "elbow.npz")
    X, expected = jnp.asarray(reference[f"{case}_X"]), reference[f"{case}_mean_sq_dist"]
    every = jnp.arange(1, len(expected) + 1)
    found = jax.vmap(lambda k: kmeans(X, k, jax.random.key(0), maximum=len(expected), restarts=30))(every)
    limit = np.where(every <= CLUSTERS[case], 1.01, 1.05)
    assert (np.asarray(found.objective) <= limit * expected).all()
    assert (np.diff(np.asarray(found.objective)) < 1e-3 * expected[0]).all()


def test_labels_are_the_nearest_centres_and_centres_the_means():
    X = jnp.asarray(np.random.default_rng(0).normal(size=(40, 3)), jnp.float32)
    fit = kmeans(X, 4, jax.random.key(1), maximum=6)
    distance = np.linalg.norm(np.asarray(X)[:, None] - np.asarray(fit.centres)[None, :4], axis=-1)
    np.testing.assert_array_equal(fit.labels, distance.argmin(1))
    for k in range(4):
        np.testing.assert_allclose(fit.centres[k], X[fit.labels == k].mean(0), atol=1e-5)
    np.testing.assert_allclose(fit.objective, (distance.min(1) ** 2).mean(), rtol=1e-5)


def test_padding_gets_no_label_and_pulls_no_centre():
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32) + 10  # zero rows would be far away
    X[10:20] += 6
    X[20:] -= 6
    padded = np.concatenate([X, np.zeros((18, 4), np.float32)])
    fit = kmeans(jnp.asarray(padded), 3, jax.random.key(0), jnp.arange(48) < 30, maximum=5)
    assert (np.asarray(fit.labels[30:]) == -1).all()
    assert [len(set(np.asarray(fit.labels[i : i + 10]).tolist())) for i in (0, 10, 20)] == [1, 1, 1]
    np.testing.assert_allclose(
        fit.objective, kmeans(jnp.asarray(X), 3, jax.random.key(0), maximum=5).objective, rtol=1e-5
    )


def test_more_clusters_than_distinct_samples_is_survived():
    X = jnp.repeat(jnp.eye(3), 4, axis=0)
    fit = kmeans(X, 5, jax.random.key(0), maximum=5)
    assert float(fit.objective) == 0 and len(set(np.asarray(fit.labels).tolist())) == 3


@given(seed=st.integers(0, 2**16), groups=st.integers(2, 6))
@settings(max_examples=20)
def test_silhouettes_equal_those_of_scikit_learn(seed, groups):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(24, 5)) + 100 * rng.normal(size=5)).astype(np.float32)
    labels = rng.integers(0, groups, 24).astype(np.int32)
    labels[:2] = 0, 1
    expected = np.asarray(sklearn_silhouettes(X.astype(np.float64), labels))
    padded = np.concatenate([X, np.zeros((8, 5), np.float32)]), np.concatenate([labels, np.full(8, -1, np.int32)])
    found = np.asarray(silhouette_samples(jnp.asarray(padded[0]), jnp.asarray(padded[1]), groups=6))
    np.testing.assert_allclose(found[:24], expected, atol=1e-4)
    assert (found[24:] == 0).all()
    mean = silhouette(jnp.asarray(padded[0]), jnp.asarray(padded[1]), groups=6)
    np.testing.assert_allclose(mean, expected.mean(), atol=1e-4)


def test_one_group_has_no_silhouette():
    assert np.isnan(silhouette(jnp.ones((4, 2)), jnp.zeros(4, jnp.int32), groups=3))


@pytest.mark.parametrize("padded", [30, 48, 64])
def test_draws_depend_on_the_samples_drawn_for_and_not_on_padding(padded):
    """Seeds are compared, which are samples, and so equal to the last bit."""
    X = np.random.default_rng(4).normal(size=(30, 3)).astype(np.float32)
    wide = np.concatenate([X, np.full((padded - 30, 3), 9, np.float32)])
    noise = np.asarray(jax.random.gumbel(jax.random.key(5), (6, 30)))
    seeds = plus_plus(jnp.asarray(wide), jnp.arange(padded) < 30, jax.random.key(5), 6, 30)
    expected, distance = [X[noise[0].argmax()]], np.full(30, np.inf)
    for row in noise[1:]:
        distance = np.minimum(distance, ((X - expected[-1]) ** 2).sum(-1))
        expected.append(X[(np.log(np.maximum(distance, np.finfo(np.float32).tiny)) + row).argmax()])
    np.testing.assert_array_equal(seeds, expected)
