"""Multiply-accumulates are those that papers print, whatever form the arithmetic takes on this machine."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from vtcd_jax.models.families.videomae import VideoMAEConfig, VideoMAEPretrainConfig, classifier_config
from vtcd_jax.models.macs import count, macs


def counted(function, *shapes: tuple[int, ...]) -> int:
    return count(jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)).jaxpr)


@pytest.mark.parametrize(("size", "published"), [("S", 57), ("B", 180)])
def test_videomae_takes_as_many_as_its_paper_says(size, published):
    """Tong et al. (2022), table 6: 16 x 224 x 224 with 400 classes, one clip."""
    assert macs(classifier_config(size, num_classes=400)) / 1e9 == pytest.approx(published, rel=0.01)


def test_blocks_by_hand():
    width, tokens, patch, classes = 48, 64, 2 * 8 * 8 * 3, 7
    sizes = {"image_size": 32, "patch_size": 8, "num_frames": 8, "width": width, "depth": 2, "num_heads": 3}
    encoder = tokens * patch * width + 2 * (12 * tokens * width**2 + 2 * tokens**2 * width)
    assert macs(VideoMAEConfig(**sizes, num_classes=classes)) == encoder + width * classes
    decoder = 12 * tokens * 24**2 + 2 * tokens**2 * 24 + tokens * width * 24 + tokens * 24 * patch
    config = VideoMAEPretrainConfig(**sizes, decoder_width=24, decoder_depth=1, decoder_num_heads=2)
    assert macs(config) == encoder + decoder


def test_loops_convolutions_and_branches():
    assert counted(lambda a, b: a @ b, (3, 4), (4, 5)) == 60
    looped = counted(lambda a: jax.lax.scan(lambda c, _: (c @ c, None), a, None, length=7)[0], (4, 4))
    assert looped == 7 * 64
    assert counted(lambda a: jax.lax.cond(a[0, 0] > 0, lambda x: x @ x, lambda x: x, a), (4, 4)) == 64
    grouped = counted(
        lambda x, k: jax.lax.conv_general_dilated(
            x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        ),
        (1, 8, 8, 4), (3, 3, 2, 6),
    )  # fmt: skip
    assert grouped == 6 * 6 * 6 * 3 * 3 * 2
    assert counted(jax.checkpoint(lambda a: jax.jit(jnp.dot)(a, a)), (4, 4)) == 64
