"""What ``bench.py`` measures: a random VideoMAE classifier, a clip of noise, random concepts; arithmetic counted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.ablation.support import Support
from vtcd_jax.data import Clips
from vtcd_jax.importance.designs.random import Random
from vtcd_jax.models import Model, build
from vtcd_jax.models.families import videomae

TINY = videomae.VideoMAEConfig(image_size=32, num_frames=4, width=48, depth=2, num_heads=2, num_classes=7)


@dataclass(frozen=True)
class Problem:
    """A network, one clip of noise, concepts in all heads of all layers, and gates [mask, concept]."""

    model: Model
    clips: Clips
    support: Support
    gates: np.ndarray


def problem(config: videomae.VideoMAEConfig, concepts: int, masks: int) -> Problem:
    """``concepts`` per head. Every weight is random, biases too, so that a bias in the wrong place shows."""
    rng = np.random.default_rng(0)
    model = build(config, labels=[f"class {i}" for i in range(config.num_classes)])
    shaken = jax.tree.map(lambda a: a + 0.02 * rng.standard_normal(a.shape, np.float32), model.params)
    model = dataclasses.replace(model, params=shaken)
    shape = (1, config.num_frames, config.image_size, config.image_size, 3)
    clips = Clips.make(rng.integers(0, 256, shape, np.uint8), ["noise"], labels=[0])
    support = random_support(config, concepts, rng)
    design = Random(jax.random.key(0), masks)
    return Problem(model, clips, support, design.rows(clips.hashes[0], 0, masks, support.present()[0]))


def random_support(config: videomae.VideoMAEConfig, concepts: int, rng: np.random.Generator) -> Support:
    """Each token of each head belongs to one of the head's concepts, or (one in ``concepts + 1``) to none."""
    ids = {}
    for layer in range(config.depth):
        drawn = rng.integers(-1, concepts, (1, *config.grid, config.num_heads, 1))
        first = concepts * (layer * config.num_heads + np.arange(config.num_heads)[:, None])
        ids[f"block_{layer}/attn/key"] = np.where(drawn < 0, -1, first + drawn).astype(np.int32)
    return Support(ids, concepts * config.num_heads * config.depth)


def operations(config: videomae.VideoMAEConfig) -> dict[str, float]:
    """Counted floating-point operations of a clip, two per multiply-add, matrix products alone."""
    tokens, width = int(np.prod(config.grid)), config.width
    pixels = config.tubelet_size * config.patch_size**2 * 3
    linear = 2 * tokens * width * (4 * width + 2 * int(width * config.mlp_ratio))
    attention = 2 * 2 * tokens**2 * width
    ends = 2 * tokens * pixels * width + 2 * width * config.num_classes
    return {
        "linear": float(config.depth * linear + ends),
        "attention": float(config.depth * attention),
        "clip": float(config.depth * (linear + attention) + ends),
    }
