"""Retrieval finds the samples with the largest cosines, in chunks as at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtcd_jax import probes
from vtcd_jax.base.errors import InputError


def test_golden_cosines_and_recall(golden: Path) -> None:
    data = np.load(golden / "probes" / "evaluation.npz")
    found = probes.retrieve(data["test_x"], data["train_x"], 20)
    order = np.argsort(-data["similarity"], axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(found.index, order)
    np.testing.assert_allclose(found.cosine, np.take_along_axis(data["similarity"], order, 1), atol=1e-6)
    ranks = probes.recall(found, data["test_y"], data["train_y"], at=data["k"].tolist())
    np.testing.assert_allclose(ranks.recall, data["recall"], rtol=1e-6)
    low, high = np.asarray(ranks.interval).T
    assert (low < data["recall"]).all() and (high >= data["recall"] - 1e-6).all()


def test_chunks_change_nothing_and_equal_samples_come_in_the_order_of_the_gallery() -> None:
    rng = np.random.default_rng(0)
    gallery = np.repeat(rng.normal(size=(7, 4)), 2, axis=0)
    queries = rng.normal(size=(5, 4))
    whole = probes.retrieve(queries, gallery, 6)
    for chunk in (1, 3, 100):
        part = probes.retrieve(queries, 5.0 * gallery, 6, chunk=chunk)
        np.testing.assert_array_equal(part.index, whole.index)
        np.testing.assert_allclose(part.cosine, whole.cosine, atol=1e-6)
    assert (np.asarray(whole.index)[:, ::2] + 1 == np.asarray(whole.index)[:, 1::2]).all()


def test_samples_of_the_query_s_group_are_left_out() -> None:
    rng = np.random.default_rng(0)
    X, group = rng.normal(size=(6, 4)), np.array([0, 0, 0, 1, 1, 1])
    found = probes.retrieve(X, X, 5, groups=(group, group), chunk=2)
    index = np.asarray(found.index)
    assert (index[:, 3:] == -1).all() and np.isneginf(np.asarray(found.cosine)[:, 3:]).all()
    assert (group[index[:, :3]] != group[:, None]).all()
    assert probes.recall(found, group, group, at=[5]).recall == 0
    np.testing.assert_array_equal(probes.knn(found, group), 1 - group)


def test_most_frequent_label_wins_and_of_equals_the_nearest() -> None:
    gallery = np.array([[1, 0.1], [1, 0.2], [1, 0.3], [1, 0.4]])
    found = probes.retrieve([[1.0, 0.0]], gallery, 4)
    assert probes.knn(found, [5, 2, 2, 7]) == [2]
    assert probes.knn(found, [5, 2, 2, 5]) == [5]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: probes.retrieve([[0.0, 0.0]], [[1.0, 0.0]], 1), "queries: sample 0 is all zeros"),
        (lambda: probes.retrieve([[1.0, 0.0]], [[1.0, 0.0]], 2), "k=2: the gallery holds 1"),
        (lambda: probes.retrieve([[1.0, 0.0]], [[1.0]], 1), "queries has 2 features, gallery has 1"),
        (lambda: probes.recall(probes.retrieve([[1.0]], [[1.0]], 1), [0], [0]), "1 neighbours were retrieved"),
        (
            lambda: probes.recall(probes.retrieve([[1.0]], [[1.0], [2.0]], 2), [0], [0], at=[1]),
            "gallery_labels: 1 labels",
        ),
    ],
)
def test_wrong_input_is_refused_in_one_line(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
