"""Losses and read-outs that tasks share, against loops over plain numbers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax.training.auxiliary import mask_heads, mask_loss, token_fractions
from vtcd_jax.training.losses import contrastive, soft_jaccard


def test_soft_jaccard_is_one_minus_the_overlap():
    sure = np.full((3, 4, 4), -50.0, np.float32)
    truth = np.zeros((3, 4, 4), np.float32)
    sure[0, :2], truth[0, :2] = 50, 1  # the same
    sure[1, :2], truth[1, 1:3] = 50, 1  # 4 pixels of 12
    sure[2, 0], truth[2, 3] = 50, 1  # apart
    np.testing.assert_allclose(soft_jaccard(jnp.asarray(sure), jnp.asarray(truth)), [0, 1 - 4 / 12, 1], atol=1e-6)


def test_a_mask_without_truth_and_prediction_has_no_infinite_loss():
    empty = soft_jaccard(jnp.full((1, 4, 4), -50.0), jnp.zeros((1, 4, 4)))
    assert float(empty[0]) == pytest.approx(1)


def test_contrastive_loss_is_cross_entropy_both_ways():
    logits = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    rows = [-np.log(np.exp(logits[i, i]) / np.exp(logits[i]).sum()) for i in range(4)]
    columns = [-np.log(np.exp(logits[i, i]) / np.exp(logits[:, i]).sum()) for i in range(4)]
    np.testing.assert_allclose(contrastive(jnp.asarray(logits), jnp.arange(4)), np.add(rows, columns), rtol=1e-5)


def test_captions_that_say_the_same_are_equally_right():
    """With two labels, each held by two clips, the best logits are the labels' block matrix."""
    label = np.array([0, 1, 0, 1])
    block = 40.0 * (label[:, None] == label)
    np.testing.assert_allclose(
        contrastive(jnp.asarray(block, jnp.float32), jnp.asarray(label)), 2 * np.log(2), rtol=1e-5
    )


def test_shares_are_means_of_masks_over_tokens():
    masks = np.zeros((1, 4, 4, 4, 2), bool)
    masks[0, 0, :2, 0, 1] = True  # 2 of the 8 pixels of the first token
    shares = token_fractions(masks, (2, 2, 2))
    assert shares.shape == (1, 2, 2, 2, 2) and shares[0, 0, 0, 0, 1] == 0.25 and shares.sum() == 0.25


def test_readouts_begin_undecided_and_are_summed_over_sites():
    readouts = mask_heads(["a", "b"], 3, 2)
    values = {site: jnp.ones((1, 2, 2, 2, 3)) for site in readouts}
    shares = jnp.zeros((1, 2, 2, 2, 2))
    assert float(mask_loss(readouts, values, shares)) == pytest.approx(2 * np.log(2))
    assert float(mask_loss({}, {}, shares)) == 0
