"""A pass in stages is the pass: embed, blocks by the first of their kind, head."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models import Edit, sites, staged
from vtcd_jax.models.families import internvideo, videomae

from .networks import NETWORKS, inputs_of, result

pytestmark = pytest.mark.compile

SIX = {"image_size": 16, "patch_size": 8, "num_frames": 2, "width": 8, "depth": 6, "num_heads": 2, "num_classes": 2}


@pytest.mark.parametrize("name", ["videomae-pretrain", "tcow", "internvideo"])
def test_stages_equal_the_whole_pass_with_edits_in_any_block(name):
    """Each block runs as the first of its kind, with its own parameters and edits under that one's names."""
    model = models.build(NETWORKS[name], key=jax.random.key(1))
    inputs, edits = inputs_of(model), {}
    for site in sites(model):
        if site.endswith("attn/key") and staged.block_of(model, site) is not None:
            edits[site] = Edit(scale=0.5)
    carry = jax.jit(staged.run_embed)(model, inputs)
    run_part = jax.jit(staged.run_part, static_argnums=(0, 1))
    for part in staged.parts(model):
        params = staged.part_params(model, part)
        carry = run_part(model.module, part.first, params, carry, part.sites(edits))
    staged_result = result(jax.jit(staged.run_head)(model, carry, inputs))
    whole = result(jax.jit(models.forward)(model, inputs, edits=edits)[0])
    assert len(edits) >= 2
    np.testing.assert_allclose(staged_result, whole, atol=2e-6 * max(1.0, float(np.abs(whole).max())))
    plain = result(jax.jit(models.forward)(model, inputs)[0])
    in_parts = result(staged.run_in_parts(model, inputs))
    np.testing.assert_allclose(in_parts, plain, atol=2e-6 * max(1.0, float(np.abs(plain).max())))


def test_blocks_of_a_kind_share_one_function():
    """Parameters of block 5 go by the names of block 0; a block with an extractor is of another kind."""
    model = models.build(videomae.VideoMAEConfig(**SIX), params={f"block_{i}": {"w": i} for i in range(6)})
    parts = staged.parts(model)
    assert {part.first for part in parts} == {0}
    assert staged.part_params(model, parts[5]) == {"block_0": {"w": 5}}
    assert parts[5].sites({"block_5/attn/key": 1, "block_4/attn/key": 2}) == {"block_0/attn/key": 1}
    mixed = models.build(internvideo.InternVideoConfig(depth=4, extractor_blocks=(1, 3)), params={})
    assert [part.first for part in staged.parts(mixed)] == [0, 1, 0, 1]
    assert staged.parts(mixed)[3].sites({"extractor_2/attn/key": 1}) == {"extractor_1/attn/key": 1}


def test_sites_outside_the_blocks_belong_to_none():
    model = models.build(videomae.VideoMAEConfig(**SIX), params={})
    assert [staged.block_of(model, site) for site in ("embed", "block_5/mlp/out", "pooled")] == [None, 5, None]


def test_an_edit_that_a_block_does_not_have_is_named():
    model = models.build(videomae.VideoMAEConfig(**SIX))
    part = staged.parts(model)[0]
    with pytest.raises(ValueError, match="no tap site 'block_0/attn/kez'"):
        carry = jax.eval_shape(staged.run_embed, model, inputs_of(model))
        params = staged.part_params(model, part)
        jax.eval_shape(lambda c: staged.run_part(model.module, 0, params, c, {"block_0/attn/kez": Edit()}), carry)
