"""Published sizes, by shape alone; tube masks; long clips."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vtcd_jax import models
from vtcd_jax.models import Inputs, attention
from vtcd_jax.models.families import clip, internvideo, tcow, timesformer, viclip, videomae

from .networks import NETWORKS, inputs_of

pytestmark = pytest.mark.compile

# Parameters in millions, as published or counted from the published files (specification of each network).
PUBLISHED = {
    "VideoMAE-S": (videomae.classifier_config("S"), None),
    "VideoMAE-B": (videomae.classifier_config("B"), 86.4),
    "VideoMAE-L": (videomae.classifier_config("L"), None),
    "VideoMAE-H": (videomae.classifier_config("H"), None),
    "VideoMAE-B, autoencoder": (videomae.pretrain_config("B"), 94.2),
    "VideoMAE-L, autoencoder": (videomae.pretrain_config("L"), None),
    "TimeSformer-B": (timesformer.classifier_config("B"), None),
    "TimeSformer-HR": (timesformer.classifier_config("HR"), None),
    "TimeSformer-L": (timesformer.classifier_config("L"), None),
    "TCOW": (tcow.tcow_config(12), 122.1),
    "TCOW, 18 blocks": (tcow.tcow_config(18), None),
    "TCOW, 24 blocks": (tcow.tcow_config(24), None),
    "InternVideo-MM-B/16": (internvideo.config("B/16"), 178.1),
    "InternVideo-MM-L/14": (internvideo.config("L/14"), None),
    "ViCLIP-B/16": (viclip.config("B/16"), 149.6),
    "ViCLIP-L/14": (viclip.config("L/14"), 427.6),
    "CLIP-B/16": (clip.config("B/16"), 149.6),
    "CLIP-L/14": (clip.config("L/14"), 427.6),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_build_and_run_by_shape_alone(name):
    """No memory, no arithmetic."""
    config, millions = PUBLISHED[name]
    shapes = models.param_shapes(config)
    model = models.build(config, params=shapes)
    prefix = "encoder/" if config.family == "videomae-pretrain" else ""
    last = "space_attn" if "tcow" in config.family or "timesformer" in config.family else "attn"
    key = f"{prefix}block_{config.depth - 1}/{last}/key"
    output, seen = jax.eval_shape(partial(models.forward, capture=(key,)), model, models.example_inputs(model))
    assert seen[key].shape == (1, *config.grid, config.num_heads, config.width // config.num_heads)
    assert any(value is not None for value in vars(output).values())
    if millions is not None:
        count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
        assert abs(count / 1e6 - millions) <= 0.06, count


def test_long_clips_attend_in_chunks_with_the_same_result():
    q, k, v = (jax.random.normal(jax.random.key(i), (2, 301, 3, 8)) for i in range(3))
    chunked = attention.attend(q, k, v)
    plain = jax.nn.dot_product_attention(q, k, v)
    np.testing.assert_allclose(chunked, plain, atol=2e-6)
    slope = jax.grad(lambda q: jnp.sum(attention.attend(q, k, v) ** 2))(q)
    expected = jax.grad(lambda q: jnp.sum(jax.nn.dot_product_attention(q, k, v) ** 2))(q)
    np.testing.assert_allclose(slope, expected, atol=2e-5)


def test_a_traced_tube_mask_equals_a_concrete_one():
    model = models.build(NETWORKS["videomae-pretrain"])
    mask = np.broadcast_to(np.array([[True, False], [False, True]]), (1, *model.config.grid))

    def run(mask):
        return models.forward(model, Inputs(inputs_of(model).video, token_mask=mask))[0].patches

    np.testing.assert_allclose(np.asarray(jax.jit(run)(mask)), np.asarray(run(mask)), atol=2e-6)
    uneven = mask.copy()
    uneven[0, 0] = False
    with pytest.raises(ValueError, match="tube mask"):
        run(uneven)
