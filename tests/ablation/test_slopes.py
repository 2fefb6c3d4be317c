"""Slopes along the gates are the derivative of the scores, whatever the chunk, the shards and the interruptions."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ablation.test_resuming import Limited
from vtcd_jax.ablation import Explicit, Support, slopes
from vtcd_jax.importance import MODES, scores
from vtcd_jax.models import InputError
from vtcd_jax.runs import MemoryStore, Shard, Work

pytestmark = pytest.mark.compile

RNG = np.random.default_rng(5)
SOFT = Explicit(RNG.uniform(0.1, 0.9, (70, 8)).astype(np.float32))
SMOOTH = ("logit", "margin")


@pytest.fixture(scope="module")
def whole(model, clips, support) -> dict[str, np.ndarray]:
    return slopes(model, clips, support, SOFT, score=SMOOTH)


@pytest.mark.parametrize("mode", MODES)
def test_slopes_are_difference_quotients_of_the_scores(model, clips, support, mode):
    row, step = SOFT.gates[0], 0.03
    found = slopes(model, clips, support, row[None], score=SMOOTH, mode=mode)
    nudged = np.concatenate([row + step * np.eye(8), row - step * np.eye(8)])
    values = scores(model, clips, support, nudged, score=SMOOTH, mode=mode)
    for name in SMOOTH:
        quotients = (values[name][:, :8] - values[name][:, 8:]) / (2 * step)
        assert np.abs(quotients).max() > 1e-3
        np.testing.assert_allclose(found[name][:, 0], quotients, rtol=0.02, atol=2e-4 * np.abs(quotients).max())


def test_slopes_where_gates_are_closed_are_finite_in_every_mode(model, clips, support):
    """A token in two concepts that are both removed: the factor is 0 in both."""
    ids = {site: np.concatenate([a, np.roll(a, 1, axis=1)], axis=-1) for site, a in support.ids.items()}
    gates = np.array([[0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0.5, 1, 0, 0.5, 0]], np.float32)
    for mode in MODES:
        found = slopes(model, clips, Support(ids, 8), gates, score="logit", mode=mode)["logit"]
        assert np.isfinite(found).all()


def test_a_concept_that_a_clip_does_not_have_has_no_slope(model, clips, support):
    ids = {site: np.where(a == 3, -1, a) for site, a in support.ids.items()}
    found = slopes(model, clips, Support(ids, 8), SOFT.gates[:2], score="logit")["logit"]
    assert (found[..., 3] == 0).all() and (found[..., 2] != 0).any()


def test_slopes_do_not_depend_on_the_chunk(model, clips, support, whole):
    chunked = slopes(model, clips, support, SOFT, score=SMOOTH, chunk=8)
    alone = slopes(model, clips, support, SOFT, score="margin")
    for name, values in whole.items():
        np.testing.assert_allclose(chunked[name], values, atol=3e-6)
    np.testing.assert_allclose(alone["margin"], whole["margin"], atol=3e-6)


def test_interrupted_slopes_end_with_the_same_numbers(model, clips, support, whole):
    store = Limited(1)
    for writes in (1, 2):
        store.left = writes
        with pytest.raises(KeyboardInterrupt):
            slopes(model, clips, support, SOFT, score=SMOOTH, work=Work(store))
    store.left = 100
    found = slopes(model, clips, support, SOFT, score=SMOOTH, work=Work(store))
    assert {values.shape for block in store.blocks.values() for values in block.values()} == {(64, 8), (6, 8)}
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values)


def test_shards_of_slopes_are_together_all(model, clips, support, whole):
    parts = [slopes(model, clips, support, SOFT, score=SMOOTH, work=Work(shard=Shard(i, 2))) for i in range(2)]
    for name, values in whole.items():
        both = np.stack([part[name] for part in parts])
        assert (np.isfinite(both).sum(0) == 1).all()
        np.testing.assert_array_equal(np.nansum(both, 0), values)


def test_blocks_of_scores_are_never_taken_for_slopes(model, clips, support):
    from vtcd_jax.ablation.slopes import SLOPES

    store = MemoryStore()
    scores(model, clips, support, SOFT, score="logit", step=SLOPES, work=Work(store))
    slopes(model, clips, support, SOFT, score="logit", work=Work(store))
    shapes = sorted(block["logit"].shape for block in store.blocks.values())
    assert len(shapes) == 12 and shapes[0] == (6,) and shapes[-1] == (64, 8)


def test_scores_without_slope_are_refused_and_left_out_of_the_default(model, clips, support):
    with pytest.raises(InputError, match="score 'accuracy' has no slope; take 'log_probability'"):
        slopes(model, clips, support, SOFT, score=("logit", "accuracy"))
    found = slopes(model, clips[:1], support[[0]], SOFT.gates[:2])
    assert found and "accuracy" not in found


def test_a_slope_that_is_not_finite_names_clip_and_mask(model, clips, support):
    def steep(output, context):
        logit = output.logits[:, 0]
        return logit + (logit - logit) ** 0.5  # 0, with an infinite slope

    with pytest.raises(InputError, match="the slope of score 'steep' of clip 'a' under mask 0 is not finite"):
        slopes(model, clips, support, SOFT, score=steep)


def test_slopes_in_16_bits_are_nearly_those_of_32(model, clips, support, whole):
    found = slopes(model, clips, support, SOFT, score=SMOOTH, dtype="bfloat16")
    for name, values in whole.items():
        assert found[name].dtype == np.float32
        assert 0 < np.abs(found[name] - values).std() < 0.03 * values.std()
