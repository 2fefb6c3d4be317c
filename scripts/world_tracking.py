"""The task of ``world-tcow``: the target's mask through occlusion, its occluder and its container, from a query mask.

Losses after TCOW (Van Hoorick et al. 2023, §4.3 and its code): binary cross-entropy and soft Jaccard per mask, with
weights 1 (target), 1/2 (occluder), 1/2 (container) and frames counting more the more of the target is hidden.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from world_tasks import SmallModel

from vtcd_jax import models, world
from vtcd_jax.data import tracking
from vtcd_jax.models import Inputs, Model
from vtcd_jax.models.families import tcow
from vtcd_jax.training import Batch
from vtcd_jax.training.losses import soft_jaccard
from vtcd_jax.world.generator import WorldClip

FRAMES, SIZE, STRIDE = 16, 48, 4
KIND_WEIGHTS = (1.0, 0.5, 0.5)


def tracker(key: jax.Array) -> Model:
    config = tcow.TCOWConfig(
        image_height=SIZE,
        image_width=SIZE,
        patch_size=8,
        num_frames=FRAMES,
        mask_stride=STRIDE,
        flags=False,
        width=80,
        depth=4,
        num_heads=4,
    )
    return models.build(config, key=key, name="world-tcow")


def tracker_batch(seed: int, size: int, done: float) -> Batch:
    return batch_of(world.training_clips(seed, size))


def batch_of(clips: list[WorldClip]) -> Batch:
    """video uint8, query, truth [batch, time, height, width(, 3)] and occlusion [batch, time]."""
    video, target, whole, contained = (
        np.stack([getattr(clip, name) for clip in clips]) for name in ("video", "target", "target_whole", "contained")
    )
    prop = np.stack([clip.occluder | clip.container for clip in clips])
    truth, occlusion = tracking.tracked(target, whole, prop, contained)
    return Batch(
        {
            "video": video,
            "query": tracking.query_mask(whole).astype(np.uint8),
            "truth": truth.astype(np.uint8),
            "occlusion": occlusion.astype(np.float32),
        }
    )


def predicted_masks(model: Model, video: jax.Array, query: jax.Array) -> jax.Array:
    """Logits [batch, time, height, width, 3]. video uint8."""
    inputs = Inputs(video.astype(jnp.float32) / 255, query=query.astype(jnp.float32))
    masks = models.forward(model, inputs)[0].masks
    assert masks is not None
    return masks


def tracker_loss(model: Model, readouts: Any, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    logits = predicted_masks(model, batch.clips["video"], batch.clips["query"])
    truth = batch.clips["truth"].astype(jnp.float32)
    frames = 1 + 4 * batch.clips["occlusion"][..., None]  # [batch, time, 1]
    entropy = optax.sigmoid_binary_cross_entropy(logits, truth)
    entropy = (entropy * (1 + 2 * truth)).mean((2, 3))  # [batch, time, kind]
    weights = jnp.asarray(KIND_WEIGHTS)
    loss = (entropy * frames * weights).mean((0, 1)).sum()
    jaccard = soft_jaccard(logits[..., 0], truth[..., 0])
    loss += (jaccard * frames[..., 0]).sum() / frames.sum()
    hard = (logits[..., 0] > 0) & (truth[..., 0] > 0)
    either = (logits[..., 0] > 0) | (truth[..., 0] > 0)
    return loss, {"train_iou": (hard.sum((2, 3)) / either.sum((2, 3)).clip(1)).mean()}


def tracker_figures(model: Model, count: int, seed: int) -> dict[str, Any]:
    """IoU by frame, averaged over the frames of a kind and then over clips; classes in turn."""
    clips = [world.sample((seed + 1) * 1_000_003 + i, i % len(world.CLASSES), split="held-out") for i in range(count)]
    run = jax.jit(predicted_masks)
    ious, occlusions = [], []
    for i in range(0, count, 50):
        batch = batch_of(clips[i : i + 50])
        found = np.asarray(run(model, batch.clips["video"], batch.clips["query"])) > 0
        truth = batch.clips["truth"].astype(bool)
        ious.append(np.stack([tracking.mask_iou(found[..., k], truth[..., k]) for k in range(3)], axis=-1))
        occlusions.append(batch.clips["occlusion"])
    iou, occlusion = np.concatenate(ious), np.concatenate(occlusions)  # [clip, time, kind], [clip, time]
    hidden = np.where((occlusion >= 1)[..., None], iou, np.nan)
    later = iou[:, 1:]  # the query shows frame 0
    return {
        "held_out_clips": count,
        "target_iou": _mean(iou[..., 0]),
        "target_iou_after_frame_0": _mean(later[..., 0]),
        "target_iou_hidden": _mean(hidden[..., 0]),
        "occluder_iou": _mean(iou[..., 1]),
        "container_iou": _mean(iou[..., 2]),
    }


def _mean(iou: np.ndarray) -> float:
    """Over frames, then over the clips that have any."""
    has_any = ~np.isnan(iou).all(axis=1)
    return float(np.nanmean(iou[has_any], axis=1).mean()) if has_any.any() else float("nan")


TRACK = SmallModel(tracker, lambda model: {}, tracker_batch, tracker_loss, tracker_figures)


def mask_head_ceiling(count: int = 56, steps: int = 300, seed: int = 0) -> float:
    """Mean target IoU when the pooled logits (stride 4) are fitted to the truth itself: what the mask head allows."""
    clips = [world.sample(seed + i, i % len(world.CLASSES), split="held-out") for i in range(count)]
    truth = jnp.asarray(np.stack([clip.target_whole for clip in clips]), jnp.float32)
    optimizer = optax.adam(0.3)

    def loss_of(pooled: jax.Array) -> jax.Array:
        return soft_jaccard(tcow.coarse(pooled, STRIDE, "bilinear")[..., 0], truth).mean()

    @jax.jit
    def step(pooled: jax.Array, moments: Any) -> tuple[jax.Array, Any]:
        update, moments = optimizer.update(jax.grad(loss_of)(pooled), moments)
        return optax.apply_updates(pooled, update), moments  # type: ignore[return-value]

    pooled = truth[..., None] - 0.5
    moments = optimizer.init(pooled)
    for _ in range(steps):
        pooled, moments = step(pooled, moments)
    found = np.asarray(tcow.coarse(pooled, STRIDE, "bilinear"))[..., 0] > 0
    return _mean(tracking.mask_iou(found, np.asarray(truth) > 0))
