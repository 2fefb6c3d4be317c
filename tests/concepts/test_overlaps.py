"""Overlap with true masks, and the random groups it is compared with."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax.concepts import Concepts, Tubelets, best_overlap, overlap, random_groups, random_overlaps
from vtcd_jax.concepts.labels import Labels
from vtcd_jax.concepts.proposals import token_ids
from vtcd_jax.concepts.tubelets.pooling import resize_labels
from vtcd_jax.models import InputError

SITE, GRID, SLIC_GRID = "block_0/attn/key", (2, 3, 3), (4, 6, 6)


def planted(videos, seed=0):
    """Concepts of two heads of one site; in head 1 a moving box is always label 1 and always concept 2."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((videos, *SLIC_GRID, 2), np.uint8)
    labels[..., 0] = rng.integers(0, 4, (videos, *SLIC_GRID))
    labels[:, :, 3:, :, 1] = 2
    for video in range(videos):
        y, x = rng.integers(0, 4, 2)
        labels[video, :, y : y + 3, x : x + 3, 1] = 1
    rows = [
        (h, v, label, (labels[v, ..., h] == label).sum())
        for h in range(2)
        for v in range(videos)
        for label in np.unique(labels[v, ..., h])
    ]
    head, video, label, size = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    feature = rng.normal(size=(len(rows), 3)).astype(np.float32)
    tubelets = Tubelets(np.zeros_like(head), head, video, label, size, feature)
    concept = np.where(head == 0, label % 2, np.where(label == 1, 2, 3)).astype(np.int32)
    return Concepts(
        sites=(SITE,), grid={SITE: GRID}, slic_grid={SITE: SLIC_GRID},
        site=np.zeros(4, np.int32), head=np.array([0, 0, 1, 1], np.int32), number=np.array([1, 2, 1, 2], np.int32),
        dictionary=np.ones((4, 3), np.float32), tubelets=tubelets, assignment=concept,
        weights=np.ones(len(rows), np.float32),
        memberships=np.ones((len(rows), 1), np.float32),
        ids=token_ids(tubelets, concept, Labels.of({SITE: labels}), (SITE,), {SITE: GRID}, "nearest"),
        labels=Labels.of({SITE: labels}), silhouette=np.ones(4, np.float32), error=np.ones(4, np.float32),
        converged=np.ones(4, bool), video_names=tuple(map(str, range(videos))),
        video_hashes=tuple(map(str, range(videos))),
    )  # fmt: skip


def true_masks(concepts, size=(8, 18, 12)):
    """The box of head 1 at full resolution."""
    return np.stack([resize_labels(clip, size) for clip in concepts.support(2)])


@pytest.mark.parametrize("size", [(8, 18, 12), (4, 6, 6), (7, 11, 13), (2, 3, 5)])
def test_overlap_is_the_iou_of_resized_supports(size):
    concepts = planted(3)
    masks = np.random.default_rng(1).random((3, *size)) < 0.3
    found = overlap(concepts, masks)
    for concept in range(4):
        for video, mask in enumerate(masks):
            support = resize_labels(concepts.support(concept)[video], size)
            expected = (support & mask).sum() / (support | mask).sum()
            np.testing.assert_allclose(found[video, concept], expected)


def test_empty_masks_do_not_count():
    concepts = planted(3)
    masks = true_masks(concepts)
    masks[1] = False
    found = overlap(concepts, masks)
    assert np.isnan(found[1]).all() and (found[[0, 2], 2] == 1).all()
    best = best_overlap(concepts, masks, concepts, masks)
    assert best.concept == 2 and best.held_out == 1 and np.isnan(best.per_video[1])


def test_the_true_concept_is_chosen_and_holds_on_other_clips():
    first, second = planted(20, seed=1), planted(30, seed=2)
    best = best_overlap(first, true_masks(first), second, true_masks(second))
    assert (best.concept, best.chosen, best.held_out, best.se) == (2, 1.0, 1.0, 0.0)
    for within in ("head", "video"):
        control = [random_groups(c, jax.random.key(i), within=within) for i, c in enumerate((first, second))]
        random = best_overlap(control[0], true_masks(first), control[1], true_masks(second))
        assert random.held_out < 0.7, within


@pytest.mark.parametrize("within", ["head", "video"])
def test_random_groups_have_the_sizes_of_the_concepts(within):
    concepts = planted(12)
    control = random_groups(concepts, jax.random.key(0), within=within)
    np.testing.assert_array_equal(control.count(), concepts.count())
    np.testing.assert_array_equal(control.head[control.assignment], concepts.tubelets.head)
    assert (control.assignment != concepts.assignment).any()
    assert (control.ids["block_0/attn/key"] != concepts.ids["block_0/attn/key"]).any()
    if within == "video":
        np.testing.assert_array_equal(control.present(), concepts.present())
    again = random_groups(concepts, jax.random.key(0), within=within)
    np.testing.assert_array_equal(again.assignment, control.assignment)
    other = random_groups(concepts, jax.random.key(1), within=within)
    assert (other.assignment != control.assignment).any()


def test_bad_input_is_refused():
    concepts = planted(3)
    masks = true_masks(concepts)
    for call, words in (
        (lambda: overlap(concepts, masks[:2]), "masks must be"),
        (lambda: best_overlap(concepts, masks & False, concepts, masks), "empty"),
        (lambda: random_groups(concepts, jax.random.key(0), within="clip"), "head or video"),
    ):
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("within", ["head", "video"])
def test_random_overlaps_are_those_of_random_groups(within):
    first, second = planted(5), planted(4, seed=1)
    key = jax.random.key(3)
    found = random_overlaps(first, true_masks(first), second, true_masks(second), draws=3, key=key, within=within)
    for i, value in enumerate(found):
        groups = [
            random_groups(c, jax.random.fold_in(key, 2 * i + j), within=within) for j, c in enumerate((first, second))
        ]
        expected = best_overlap(groups[0], true_masks(first), groups[1], true_masks(second)).held_out
        np.testing.assert_allclose(value, expected)
