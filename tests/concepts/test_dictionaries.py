"""Dictionaries by every method: what they promise, on ordinary features and on those that break things."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from vtcd_jax import models
from vtcd_jax.concepts import (
    ElbowRule,
    NmfConfig,
    assign,
    convex_nmf,
    discover,
    load_concepts,
    save_concepts,
)
from vtcd_jax.concepts.clustering.kmeans import kmeans
from vtcd_jax.concepts.dictionaries import (
    best_of,
    encode,
    fit,
    fit_heads,
    fit_labelled,
    fit_padded,
    fit_seeds,
    memberships,
    reconstruct,
)
from vtcd_jax.concepts.dictionaries.centres import k_means
from vtcd_jax.concepts.dictionaries.simplex import onto_simplex, simplex_codes
from vtcd_jax.concepts.settings import METHODS
from vtcd_jax.data.clips import Clips
from vtcd_jax.models import InputError
from vtcd_jax.models.families.videomae import VideoMAEConfig
from vtcd_jax.runs import MemoryStore, Work

pytestmark = pytest.mark.compile

SAMPLES, FEATURES, CONCEPTS, STEPS = 12, 5, 4, 60
MONOTONE = tuple(method for method in METHODS if method != "top-k")
CASES = ("ordinary", "constant", "zero", "three distinct", "one sample", "fewer samples than concepts", "no sample")


def clusters(seed, samples=SAMPLES, features=FEATURES, k=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(samples) % k
    return (2 * rng.normal(size=(k, features))[labels] + rng.normal(size=(samples, features))).astype(np.float32)


@pytest.fixture(scope="module")
def cases():
    """X [case, sample, feature] with zero rows for padding, labels [case, sample] of k-means, used [case]."""
    X = np.stack([clusters(seed) for seed in range(len(CASES))])
    X[1], X[2], X[3] = X[1, 0], 0, X[3, np.arange(SAMPLES) % 3]
    mask = np.arange(SAMPLES) < np.array([8, 12, 12, 12, 1, 2, 0])[:, None]
    X, used = np.where(mask[..., None], X, 0), np.array([3, 3, 3, 4, 4, 4, 4], np.int32)
    clipped = np.clip(used, 1, np.maximum(mask.sum(1), 1))
    one = partial(kmeans, maximum=CONCEPTS, restarts=2)
    labels = jax.vmap(one)(X, clipped, jax.random.split(jax.random.key(0), len(X)), mask).labels
    return X, np.asarray(labels), used


@pytest.fixture(scope="module")
def fitted(cases):
    """method -> fits of all cases side by side; and of the first alone, without any padding."""
    X, labels, used = cases
    found = {}
    for method in METHODS:
        values = np.abs(X) if method == "nmf" else X
        one = partial(fit_labelled, method=method, max_steps=STEPS, active=2)
        together = jax.vmap(partial(one, concepts=CONCEPTS))(values, labels, used, jnp.zeros(len(X)))
        alone = one(jnp.asarray(values[0, :8]), jnp.asarray(labels[0, :8]), 3, 0.0, concepts=3)
        found[method] = values, jax.tree.map(np.array, together), jax.tree.map(np.array, alone)
    return found


@pytest.mark.parametrize("method", METHODS)
def test_padding_and_neighbours_change_nothing(fitted, method):
    """Eight samples and three concepts, in a batch padded to twelve and four, and alone."""
    _, together, alone = fitted[method]
    np.testing.assert_allclose(together.error[0], alone.error, rtol=1e-3)
    np.testing.assert_allclose(together.dictionary[0, :3], alone.dictionary, atol=1e-3)
    np.testing.assert_allclose(together.codes[0, :3, :8], alone.codes, atol=1e-3)
    if alone.weights is not None:
        np.testing.assert_allclose(together.weights[0, :8, :3], alone.weights, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_breaks_a_fit_and_padding_stays_zero(fitted, cases, method):
    """Constant and zero features, duplicates, one sample, fewer samples than concepts, none: finite, and zero where
    there is no sample or no concept, of which there are never more than samples."""
    _, labels, used = cases
    _, fits, _ = fitted[method]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fits))
    assert (fits.codes >= 0).all() and (fits.error >= 0).all()
    for case, name in enumerate(CASES):
        real, samples = min(used[case], (labels[case] >= 0).sum()), labels[case] >= 0
        assert not fits.codes[case][:, ~samples].any() and not fits.codes[case][real:].any(), name
        assert not fits.dictionary[case][real:].any(), name
        if fits.weights is not None:
            assert not fits.weights[case][~samples].any() and not fits.weights[case][:, real:].any(), name
    assert fits.error[2, -1] == fits.error[6, -1] == 0, "nothing to explain"
    assert fits.error[CASES.index("one sample"), -1] < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_the_error_is_that_of_the_factors_and_never_rises(fitted, method):
    X, fits, _ = fitted[method]
    rebuilt = np.swapaxes(fits.codes, 1, 2) @ fits.dictionary
    found = np.linalg.norm(X - rebuilt, axis=(1, 2)) / np.maximum(np.linalg.norm(X, axis=(1, 2)), 1e-30)
    np.testing.assert_allclose(found, fits.error[:, -1], atol=2e-5)
    assert fits.error[0, -1] < fits.error[0, 0] or method == "k-means"
    if method in MONOTONE:
        assert (np.diff(fits.error) <= 1e-6).all()


@pytest.mark.parametrize("method", ("convex-nmf", "k-means", "archetypes"))
def test_weights_make_the_dictionary_from_the_samples(fitted, method):
    X, fits, _ = fitted[method]
    made = np.swapaxes(fits.weights, 1, 2) @ X
    np.testing.assert_allclose(made[0], fits.dictionary[0], atol=1e-4)
    assert (fits.weights >= 0).all()
    if method != "convex-nmf":
        np.testing.assert_allclose(fits.weights[0].sum(0), [1, 1, 1, 0], atol=1e-5)
    if method == "archetypes":
        np.testing.assert_allclose(fits.codes[0, :, :8].sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_codes_of_the_same_samples_fit_as_well_as_those_of_the_fit(fitted, method):
    X, _, alone = fitted[method]
    codes = encode(X[0, :8], alone, method=method, active=2)
    assert codes.shape == (8, 3) and (codes >= 0).all()
    rebuilt = np.asarray(reconstruct(codes, jnp.asarray(alone.dictionary), method=method))
    error = np.linalg.norm(X[0, :8] - rebuilt) / np.linalg.norm(X[0, :8])
    assert error <= alone.error[-1] * 1.0001 + 1e-6
    if method == "top-k":
        assert ((np.asarray(codes) > 0).sum(1) <= 2).all()
        np.testing.assert_allclose(np.linalg.norm(alone.dictionary, axis=1), 1, atol=1e-5)


def test_lloyds_steps_lower_the_error_from_any_labels():
    X = clusters(3, samples=30)
    labels = np.zeros(30, np.int32)  # three clusters are empty: they begin at samples that lie far out
    found = jax.jit(partial(k_means, concepts=4, max_steps=50))(X, labels, jnp.int32(4))
    assert found.converged and 1 < int(found.steps) < 50
    assert (np.diff(found.error) <= 1e-6).all() and (np.asarray(found.codes).sum(1) > 0).all()
    distance = np.linalg.norm(X[:, None] - np.asarray(found.dictionary), axis=-1)
    np.testing.assert_array_equal(np.argmax(found.codes, 0), distance.argmin(1))


def test_the_simplex_projection_and_shares_are_the_nearest():
    rng = np.random.default_rng(0)
    V, Z = rng.normal(size=(6, 4)), rng.normal(size=(4, 5))
    real = jnp.arange(6) < 4
    padded = np.concatenate([V, np.full((6, 2), 1e9)], 1)
    one = {"type": "eq", "fun": lambda s: s.sum() - 1}

    def best(cost):
        return minimize(cost, np.full(4, 0.25), bounds=[(0, 1)] * 4, constraints=one, options={"ftol": 1e-12}).x

    rows = jnp.asarray(np.concatenate([padded, [[1e12, -1e12, 1e12, 0, 0, 0]]]), jnp.float32)
    *found, far = np.asarray(jax.jit(onto_simplex)(rows, real))
    np.testing.assert_allclose(far, [0.5, 0, 0.5, 0, 0, 0])
    found = np.stack(found)
    np.testing.assert_allclose(found[:, :4], [best(lambda s, v=v: ((s - v) ** 2).sum()) for v in V], atol=1e-4)
    assert not found[:, 4:].any()
    X = rng.normal(size=(6, 5)) * 2
    rows = np.concatenate([Z, np.zeros((2, 5))])  # rows of zeros: not to be taken for archetypes at the origin
    shares = np.asarray(simplex_codes(jnp.asarray(X, jnp.float32), jnp.asarray(rows, jnp.float32), 4))
    np.testing.assert_allclose(shares[:, :4], [best(lambda s, x=x: ((x - s @ Z) ** 2).sum()) for x in X], atol=1e-3)
    assert not shares[:, 4:].any()


def matched(found, truth):
    """Largest distance of a true row from the nearest found one, in lengths of the row."""
    distance = np.linalg.norm(np.asarray(found)[:, None] - truth, axis=-1)
    assert len(set(distance.argmin(0))) == len(truth)
    return (distance.min(0) / np.linalg.norm(truth, axis=1)).max()


def test_archetypes_are_the_corners():
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(4, 8)) * 3
    shares = np.concatenate([np.eye(4), rng.dirichlet(np.ones(4), 36)])
    found = fit((shares @ corners).astype(np.float32), 4, method="archetypes", tol=1e-5)
    assert found.converged and matched(found.dictionary, corners) < 0.05
    np.testing.assert_allclose(found.codes.sum(0), 1, atol=1e-5)


def test_a_sparse_autoencoder_finds_directions_that_are_mixed_in_pairs():
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(8, 4)))[0].T
    codes = np.zeros((40, 4))
    for row in codes:
        row[rng.choice(4, 2, replace=False)] = rng.uniform(1, 2, 2)
    found = fit((codes @ directions).astype(np.float32), 4, method="top-k", active=2, tol=1e-6)
    assert matched(found.dictionary, directions) < 0.1
    assert found.error[-1] < 0.1


def test_a_free_dictionary_fits_better_than_a_convex_one(fitted):
    assert fitted["semi-nmf"][2].error[-1] < fitted["convex-nmf"][2].error[-1]


def test_convex_nmf_is_the_same_by_either_name():
    X, key = clusters(0, 40, 8), jax.random.key(4)
    first, second = fit(X, 4, key, max_steps=30), convex_nmf(X, 4, key=key, max_steps=30)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_seeds_side_by_side_are_seeds_one_after_the_other_and_the_best_is_kept():
    X, keys = clusters(2, 40, 8, k=7), jax.random.split(jax.random.key(0), 3)
    several = fit_seeds(X, 4, keys, method="k-means", restarts=10)  # the program that other tests have compiled
    settings = {"method": "k-means", "concepts": 4, "restarts": 10}
    vmapped = jax.vmap(lambda key: fit_padded(jnp.asarray(X), jnp.ones(40, bool), 4, key, **settings))(keys)
    for a, b in zip(jax.tree.leaves(several), jax.tree.leaves(vmapped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    best = best_of(several)
    assert best.error.ndim == 1 and best.error[-1] == several.error[:, -1].min()


def test_heads_of_different_sizes_share_a_program(fitted, cases):
    X, labels, used = cases
    found = fit_heads(X, labels, used, method="semi-nmf", concepts=CONCEPTS, max_steps=STEPS, tol=0.0)
    np.testing.assert_allclose(found.error, fitted["semi-nmf"][1].error, atol=1e-4)


def test_a_sample_belongs_where_its_weight_code_or_part_is_largest(fitted):
    for method in METHODS:
        fits = fitted[method][1]
        codes = np.swapaxes(fits.codes, 1, 2)
        lengths = np.linalg.norm(fits.dictionary, axis=-1)[:, None]
        expected = codes * lengths if method in ("semi-nmf", "nmf") else codes
        np.testing.assert_allclose(memberships(fits, method, "H"), expected, rtol=1e-5)
        given = fits.weights if method == "convex-nmf" else expected
        np.testing.assert_allclose(memberships(fits, method, "G"), given, rtol=1e-5)
    fits = fitted["convex-nmf"][1]
    sunk = fits.replace(weights=np.where(np.arange(SAMPLES)[:, None] == 1, 0, fits.weights))
    found = memberships(sunk, "convex-nmf", "G")
    np.testing.assert_array_equal(found[:, 1], fits.codes[:, :, 1])
    np.testing.assert_array_equal(found[:, 0], fits.weights[:, 0])


class Segments(MemoryStore):
    """Keeps what SLIC found, so that several discoveries share it, and nothing else."""

    def write_block(self, name, arrays):
        if name.startswith("segment"):
            super().write_block(name, arrays)


def test_discovery_disk_and_new_clips_go_the_same_way(tmp_path):
    """Centres and encoders label the tubelets they were fitted to as they label new ones, also when read from disk."""
    sizes = {"image_size": 16, "patch_size": 4, "num_frames": 4, "width": 16, "depth": 1, "num_heads": 2}
    model = models.build(VideoMAEConfig(**sizes, num_classes=3), key=jax.random.key(0), name="tiny")
    video = np.random.default_rng(0).integers(0, 255, (3, 4, 16, 16, 3), np.uint8)
    clips, work = Clips.make(video, ["a", "b", "c"]), Work(store=Segments())
    nmf = NmfConfig(
        elbow=ElbowRule(rule="fixed", number=3), max_steps=300, restarts=2, refits=0, active=2, assign="tubelets"
    )
    for method, words in (("k-means", "nearest centre"), ("top-k", "encoder")):
        concepts = discover(model, clips, nmf=replace(nmf, method=method), work=work)
        assert (concepts.encoder is not None) == (method == "top-k") and (concepts.count() > 0).all()
        save_concepts(concepts, tmp_path / method)
        again = assign(model, clips, load_concepts(tmp_path / method), work=work)
        np.testing.assert_array_equal(again.assignment, concepts.assignment)
        np.testing.assert_allclose(again.error, concepts.error, atol=1e-4)
        assert again.settings["assigned"] == words
    with pytest.raises(InputError, match="features >= 0"):
        discover(model, clips, nmf=replace(nmf, method="nmf"), work=work)


def test_bad_input_is_refused(fitted):
    X = clusters(0)
    alone = fitted["top-k"][2]
    for call, words in (
        (lambda: fit(X, 0, method="k-means"), "1 … 12"),
        (lambda: fit(X, 13, method="k-means"), "1 … 12"),
        (lambda: fit(np.where(X > 1, np.nan, X), 2, method="archetypes"), "NaN"),
        (lambda: fit(X, 2, method="nmf"), 'features >= 0, the smallest is -.*"semi-nmf"'),
        (lambda: fit_seeds(X, 2, jax.random.split(jax.random.key(0)), method="nmf"), "features >= 0"),
        (lambda: encode(X, alone.dictionary, method="top-k"), "encoder"),
        (lambda: encode(X[:, :3], alone, method="top-k"), "3 channels, the dictionary 5"),
        (lambda: encode(np.where(X > 1, np.inf, X), alone, method="top-k"), "infinite"),
        (lambda: NmfConfig(method="pca"), "convex-nmf, semi-nmf, nmf, k-means, archetypes, top-k"),
        (lambda: NmfConfig(active=0), "active"),
    ):
        with pytest.raises(InputError, match=words):
            call()
