"""VideoMAE's sizes and settings: what shapes tell, what is assumed, and what settings are called elsewhere.

Tong, Song, Wang & Wang (2022), https://github.com/MCG-NJU/VideoMAE; transformers' ``VideoMAEConfig``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtcd_jax.base.errors import InputError

from ..tables.settings import HUB_IGNORED, Vocabulary
from ..tables.sizes import Shapes, check_sizes, count_blocks, heads_of, mlp_ratio, shape_of


# -- what the tensors tell ------------------------------------------------------------------------------------------
def encoder_sizes(shapes: Shapes, patch: str, stack: str, first_layer: str) -> dict[str, Any]:
    """Sizes from the patch kernel [width, 3, tubelet, patch, patch] and the MLP, and whether there is layer scale."""
    width, colours, tubelet, height, breadth = shape_of(shapes, patch, 5)
    if colours != 3 or height != breadth:
        raise InputError(f"tensor {patch} has shape {list(shapes[patch])}, expected 3 colours and square patches")
    hidden, _ = shape_of(shapes, f"{stack}.0.{first_layer}", 2)
    depth = count_blocks(shapes, stack)
    return {
        "width": width,
        "depth": depth,
        "patch_size": height,
        "tubelet_size": tubelet,
        "mlp_ratio": mlp_ratio(hidden, width),
        "layer_scale": f"{stack}.0.gamma_1" in shapes,
    }


def decoder_sizes(shapes: Shapes, stack: str, first_layer: str) -> dict[str, Any]:
    width, _ = shape_of(shapes, "encoder_to_decoder.weight", 2)
    hidden, _ = shape_of(shapes, f"{stack}.0.{first_layer}", 2)
    depth = count_blocks(shapes, stack)
    return {"decoder_width": width, "decoder_depth": depth, "decoder_mlp_ratio": mlp_ratio(hidden, width)}


def original_classifier_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "patch_embed.proj.weight", "blocks", "mlp.fc1.weight")
    return found | {"num_classes": shape_of(shapes, "head.weight", 2)[0]}


def mmaction_classifier_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "patch_embed.projection.weight", "blocks", "mlp.layers.0.0.weight")
    return found | {"num_classes": shape_of(shapes, "cls_head.fc_cls.weight", 2)[0]}


def original_pretrain_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "encoder.patch_embed.proj.weight", "encoder.blocks", "mlp.fc1.weight")
    return found | decoder_sizes(shapes, "decoder.blocks", "mlp.fc1.weight")


_HUB_PATCH, _HUB_STACK = "videomae.embeddings.patch_embeddings.projection.weight", "videomae.encoder.layer"


def hub_classifier_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, _HUB_PATCH, _HUB_STACK, "intermediate.dense.weight")
    return found | {"num_classes": shape_of(shapes, "classifier.weight", 2)[0]}


def hub_pretrain_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, _HUB_PATCH, _HUB_STACK, "intermediate.dense.weight")
    found |= decoder_sizes(shapes, "decoder.decoder_layers", "intermediate.dense.weight")
    # With use_mean_pooling transformers leaves the encoder's last norm out, in the autoencoder too.
    has_norm = any(name.startswith("videomae.layernorm.") for name in shapes)
    return found if has_norm else found | {"encoder_norm": False}


# -- what nobody told ------------------------------------------------------------------------------------------
FRAMES = 16
_PUBLISHED = "as in all published models; the tensors do not tell"
# Width -> heads of VideoMAE S, B, L, H and V2's g; of their decoders.
HEADS = {384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
DECODER_HEADS = {192: 3, 384: 6, 512: 8, 640: 8}
_NORMS = ("norm_eps", "head_norm_eps", "last_norm_eps", "decoder_norm_eps", "decoder_head_norm_eps")


def assume_original(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    found = {"num_frames": FRAMES, "image_size": 224, "mask_ratio": 0.9} | dict.fromkeys(_NORMS, 1e-6)
    heads = heads_of(fields, HEADS) | heads_of(fields, DECODER_HEADS, "decoder_")
    return heads | {name: (value, _PUBLISHED) for name, value in found.items()}


def assume_hub(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """transformers' defaults; its last norms (``fc_norm``, ``decoder.norm``) ignore ``layer_norm_eps``."""
    default, fixed = (1e-12, "transformers' default"), (1e-5, "torch's default, whatever layer_norm_eps says")
    return assume_original(fields) | {name: fixed if "head" in name else default for name in _NORMS}


def check_original_autoencoder(config: Any) -> list[str]:
    """The original's encoder takes no number of frames: its position table is that of 16."""
    problems = check_sizes(config)
    if config.num_frames != FRAMES:
        problems.append(f"num_frames = {config.num_frames}: the original autoencoder takes {FRAMES} frames only")
    return problems


# -- what settings are called elsewhere ----------------------------------------------------------------------------
_ALIASES = {
    "embed_dim": "width", "input_size": "image_size", "img_size": "image_size", "nb_classes": "num_classes",
    "decoder_embed_dim": "decoder_width", "init_values": "layer_scale", "all_frames": "num_frames",
    "encoder_embed_dim": "width", "encoder_depth": "depth", "encoder_num_heads": "num_heads",
}  # fmt: skip
_FIXED = {
    "hidden_act": ("gelu",), "num_channels": (3,), "in_chans": (3,), "qkv_bias": (True,),
    "qv_bias": (True,), "cos_attn": (False,), "use_learnable_pos_emb": (False,), "norm_pix_loss": (True,),
}  # fmt: skip
# The original code takes the layer scales' first value, 0 or None for none.
_VALUES = {"init_values": bool}


def original_vocabulary(*norms: str) -> Vocabulary:
    aliases = {**_ALIASES, "layer_norm_eps": norms}
    return Vocabulary(aliases, _FIXED | {"use_mean_pooling": (True,)}, r"drop.*", _VALUES)


def hub_vocabulary(*norms: str) -> Vocabulary:
    aliases: dict[str, str | tuple[str, ...]] = {
        "hidden_size": "width", "num_hidden_layers": "depth", "num_attention_heads": "num_heads",
        "layer_norm_eps": norms,
    }  # fmt: skip
    ignored = HUB_IGNORED + r"|(decoder_)?intermediate_size"
    if len(norms) == 1:
        # A classifier's config also carries the sizes of the decoder it was pre-trained with.
        return Vocabulary(
            {**_ALIASES, **aliases, "num_labels": "num_classes"},
            {**_FIXED, "use_mean_pooling": (True,), "norm_pix_loss": (True, False)},
            ignored + r"|decoder_.*",
            _VALUES,
        )
    aliases |= {
        "decoder_hidden_size": "decoder_width", "decoder_num_hidden_layers": "decoder_depth",
        "decoder_num_attention_heads": "decoder_num_heads",
    }  # fmt: skip
    return Vocabulary({**_ALIASES, **aliases}, _FIXED, ignored + r"|use_mean_pooling|num_labels", _VALUES)
