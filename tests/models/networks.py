"""Small networks of every family, for what all of them promise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax.models import Inputs, Model, Output, family_of
from vtcd_jax.models.families import clip, internvideo, tcow, timesformer, viclip, videomae, videomae_encoder

BLOCKS = {"width": 24, "depth": 2, "num_heads": 2}
SIZES = {"image_size": 16, "patch_size": 8, **BLOCKS}
TEXT = {
    "embed_dim": 12, "context_length": 6, "vocab_size": 20, "end_token": 19, "text_width": 16, "text_depth": 1,
    "text_num_heads": 2,
}  # fmt: skip
NETWORKS = {
    "videomae-classifier": videomae.VideoMAEConfig(num_frames=6, num_classes=5, **SIZES),
    "videomae-pretrain": videomae.VideoMAEPretrainConfig(
        num_frames=6, decoder_width=16, decoder_depth=1, decoder_num_heads=2, mask_ratio=0.5, **SIZES
    ),
    "videomae-encoder": videomae_encoder.VideoMAEEncoderConfig(num_frames=6, **SIZES),
    "videomae-layer-scale": videomae.VideoMAEConfig(num_frames=6, num_classes=5, layer_scale=True, **SIZES),
    "timesformer-divided": timesformer.TimeSformerConfig(num_frames=3, num_classes=5, **SIZES),
    "timesformer-joint": timesformer.TimeSformerConfig(num_frames=3, num_classes=5, attention="joint", **SIZES),
    "timesformer-space": timesformer.TimeSformerConfig(num_frames=3, num_classes=5, attention="space", **SIZES),
    "tcow": tcow.TCOWConfig(image_height=16, image_width=32, patch_size=8, num_frames=3, mask_stride=2, **BLOCKS),
    "clip": clip.CLIPConfig(num_frames=1, **SIZES, **TEXT),
    "internvideo": internvideo.InternVideoConfig(num_frames=3, extractor_blocks=(0, 1), **SIZES, **TEXT),
    "viclip": viclip.ViCLIPConfig(num_frames=3, **SIZES, **TEXT),
}


def inputs_of(model: Model, batch: int = 1, seed: int = 0, dtype: type = np.float32) -> Inputs:
    """Random inputs, with all that the network needs."""
    rng, p = np.random.default_rng(seed), model.preprocessing
    needs = family_of(model).needs
    video = rng.normal(size=(batch, p.num_frames, p.height, p.width, 3))
    query = text = None
    if "query" in needs:
        query = np.zeros(video.shape[:4])
        query[:, 0, 2:9, 3:11] = 1
        query = jnp.asarray(query, dtype)
    if "text" in needs:
        text = rng.integers(1, model.config.end_token, (2, model.config.context_length))
        text[:, -1] = model.config.end_token
    return Inputs(jnp.asarray(video, dtype), text=text, query=query)


def result(output: Output) -> jax.Array:
    """What the network predicts, [batch, …]."""
    found = [
        value for value in (output.logits, output.patches, output.masks, output.video_features) if value is not None
    ]
    return found[0]
