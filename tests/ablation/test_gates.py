"""Columns of gates beyond the concepts stand for nothing."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.ablation import Support, scores
from vtcd_jax.ablation.gates import padded_columns
from vtcd_jax.data import Clips
from vtcd_jax.importance.designs.random import LeaveOneOut
from vtcd_jax.models.families.videomae import VideoMAEConfig

pytestmark = pytest.mark.compile


@pytest.mark.parametrize(("concepts", "columns"), [(1, 256), (256, 256), (257, 512), (1500, 2048)])
def test_gates_come_in_few_widths(concepts, columns):
    gates = np.zeros((2, 3, concepts), np.float32)
    padded = padded_columns(gates)
    assert padded.shape == (2, 3, columns)
    assert not padded[..., :concepts].any() and (padded[..., concepts:] == 1).all()


def test_concepts_that_lie_nowhere_change_no_score():
    """Whole passes and those that begin late, with one width of gates and with the next."""
    config = VideoMAEConfig(
        image_size=16, patch_size=8, num_frames=2, width=8, depth=2, num_heads=2, num_classes=3
    )  # fmt: skip
    model = models.build(config, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    clips = Clips.make(rng.integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8), ["a", "b"])
    ids = {"block_1/attn/key": rng.integers(-1, 4, (2, 1, 2, 2, 2, 1)).astype(np.int32)}
    few, many = Support(ids, 4), Support(ids, 300)
    gates = rng.integers(0, 2, (5, 4)).astype(np.float32)
    wide = np.pad(gates, ((0, 0), (0, 296)), constant_values=1)
    np.testing.assert_array_equal(
        scores(model, clips, few, gates, score="logit")["logit"],
        scores(model, clips, many, wide, score="logit")["logit"],
    )
    late = [scores(model, clips, s, LeaveOneOut(s.concepts), score="logit")["logit"] for s in (few, many)]
    np.testing.assert_array_equal(late[0], late[1][:, :4])
