"""VideoMAE checkpoints: the original code's names and Hugging Face's, fine-tuned and self-supervised.

Original: ``blocks.N.attn.qkv.weight`` fused (rows query, key, value), ``q_bias`` and ``v_bias`` apart, no key bias.
Hugging Face: separate projections; the files say ``q_bias``, transformers 5 says ``query.bias`` in memory.
Positions are a fixed table and are recomputed; where a file holds it, it is compared.

Tong, Song, Wang & Wang (2022), https://github.com/MCG-NJU/VideoMAE; transformers' ``VideoMAEConfig``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vtcd_jax.models.errors import InputError

from .layouts import Layout
from .rules import (
    Read,
    Rule,
    all_zero,
    check,
    identity,
    ignore,
    patch_kernel,
    refuse,
    split_qkv,
    squeeze,
    transpose,
)
from .settings import HUB_IGNORED, Vocabulary
from .sizes import Shapes, check_sizes, count_blocks, heads_of, mlp_ratio, shape_of


# -- tensors that repeat what is known -----------------------------------------------------------------------------
def same_as_parts(values: np.ndarray, match: re.Match[str], read: Read) -> str | None:
    """``qkv.bias``, which some dumps hold besides its parts, must be [q_bias, 0, v_bias]."""
    query, value = (read(f"{match[1]}.attn.{part}") for part in ("q_bias", "v_bias"))
    if query is None or value is None:
        return "has no q_bias and v_bias beside it to compare with"
    expected = np.concatenate([query, np.zeros_like(query), value])
    return None if np.array_equal(values, expected) else "is not [q_bias, 0, v_bias], as it should be"


def same_as_table(values: np.ndarray, match: re.Match[str], read: Read) -> str | None:
    """A stored position table must be the sine-cosine table of its size."""
    from vtcd_jax.models.layers import sine_cosine_table

    if values.ndim != 3 or values.shape[0] != 1:
        return "is no position table [1, token, channel]"
    if not np.allclose(values[0], sine_cosine_table(*values.shape[1:]), atol=1e-3):
        return "is not the fixed sine-cosine table; learned or resized positions are not supported"
    return None


# -- the tables ----------------------------------------------------------------------------------------------------
def original_blocks(source: str, target: str) -> tuple[Rule, ...]:
    """Rules of a stack of blocks whose names begin with ``source`` there and with ``target`` here."""
    s, t = rf"{source}\.(\d+)\.", rf"{target}block_\1/"
    return (
        Rule(s + r"norm1\.weight", t + "norm_1/scale", identity),
        Rule(s + r"norm1\.bias", t + "norm_1/bias", identity),
        Rule(
            s + r"attn\.qkv\.weight",
            tuple(f"{t}attn/{n}/kernel" for n in ("query", "key", "value")),
            split_qkv,
        ),
        Rule(s + r"attn\.q_bias", t + "attn/query/bias", identity),
        Rule(s + r"attn\.v_bias", t + "attn/value/bias", identity),
        Rule(s + r"attn\.proj\.weight", t + "attn/out/kernel", transpose),
        Rule(s + r"attn\.proj\.bias", t + "attn/out/bias", identity),
        Rule(s + r"norm2\.weight", t + "norm_2/scale", identity),
        Rule(s + r"norm2\.bias", t + "norm_2/bias", identity),
        Rule(s + r"mlp\.fc1\.weight", t + "mlp/fc_1/kernel", transpose),
        Rule(s + r"mlp\.fc1\.bias", t + "mlp/fc_1/bias", identity),
        Rule(s + r"mlp\.fc2\.weight", t + "mlp/fc_2/kernel", transpose),
        Rule(s + r"mlp\.fc2\.bias", t + "mlp/fc_2/bias", identity),
        check(rf"({source}\.\d+)\.attn\.qkv\.bias", same_as_parts, "repeats q_bias and v_bias (verified)"),
        refuse(s + r"gamma_[12]", "layer scale (init_values > 0)"),
    )


def hub_blocks(source: str, target: str) -> tuple[Rule, ...]:
    """The same in Hugging Face's names, those of files and those of memory."""
    s, t = rf"{source}\.(\d+)\.", rf"{target}block_\1/"
    return (
        Rule(s + r"layernorm_before\.weight", t + "norm_1/scale", identity),
        Rule(s + r"layernorm_before\.bias", t + "norm_1/bias", identity),
        Rule(s + r"attention\.attention\.query\.weight", t + "attn/query/kernel", transpose),
        Rule(s + r"attention\.attention\.key\.weight", t + "attn/key/kernel", transpose),
        Rule(s + r"attention\.attention\.value\.weight", t + "attn/value/kernel", transpose),
        Rule(s + r"attention\.attention\.(?:q_bias|query\.bias)", t + "attn/query/bias", identity),
        Rule(s + r"attention\.attention\.(?:v_bias|value\.bias)", t + "attn/value/bias", identity),
        check(s + r"attention\.attention\.(?:k_bias|key\.bias)", all_zero, "a key bias of zeros (verified)"),
        Rule(s + r"attention\.output\.dense\.weight", t + "attn/out/kernel", transpose),
        Rule(s + r"attention\.output\.dense\.bias", t + "attn/out/bias", identity),
        Rule(s + r"layernorm_after\.weight", t + "norm_2/scale", identity),
        Rule(s + r"layernorm_after\.bias", t + "norm_2/bias", identity),
        Rule(s + r"intermediate\.dense\.weight", t + "mlp/fc_1/kernel", transpose),
        Rule(s + r"intermediate\.dense\.bias", t + "mlp/fc_1/bias", identity),
        Rule(s + r"output\.dense\.weight", t + "mlp/fc_2/kernel", transpose),
        Rule(s + r"output\.dense\.bias", t + "mlp/fc_2/bias", identity),
    )


ORIGINAL_CLASSIFIER = (
    Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", patch_kernel),
    Rule(r"patch_embed\.proj\.bias", "patch_embed/bias", identity),
    *original_blocks("blocks", ""),
    Rule(r"fc_norm\.weight", "head_norm/scale", identity),
    Rule(r"fc_norm\.bias", "head_norm/bias", identity),
    Rule(r"head\.weight", "head/kernel", transpose),
    Rule(r"head\.bias", "head/bias", identity),
    refuse(
        r"norm\.(?:weight|bias)",
        "a norm before pooling (class-token pooling); only mean pooling with fc_norm is",
    ),
    check(r"pos_embed", same_as_table, "the fixed sine-cosine table (verified)"),
)
ORIGINAL_PRETRAIN = (
    Rule(r"encoder\.patch_embed\.proj\.weight", "encoder/patch_embed/kernel", patch_kernel),
    Rule(r"encoder\.patch_embed\.proj\.bias", "encoder/patch_embed/bias", identity),
    *original_blocks(r"encoder\.blocks", "encoder/"),
    Rule(r"encoder\.norm\.weight", "encoder/norm/scale", identity),
    Rule(r"encoder\.norm\.bias", "encoder/norm/bias", identity),
    Rule(r"encoder_to_decoder\.weight", "encoder_to_decoder/kernel", transpose),
    Rule(r"mask_token", "mask_token", squeeze),
    *original_blocks(r"decoder\.blocks", "decoder/"),
    Rule(r"decoder\.norm\.weight", "decoder/norm/scale", identity),
    Rule(r"decoder\.norm\.bias", "decoder/norm/bias", identity),
    Rule(r"decoder\.head\.weight", "decoder/head/kernel", transpose),
    Rule(r"decoder\.head\.bias", "decoder/head/bias", identity),
    check(r"(?:encoder\.)?pos_embed", same_as_table, "the fixed sine-cosine table (verified)"),
)
HUB_CLASSIFIER = (
    Rule(r"videomae\.embeddings\.patch_embeddings\.projection\.weight", "patch_embed/kernel", patch_kernel),
    Rule(r"videomae\.embeddings\.patch_embeddings\.projection\.bias", "patch_embed/bias", identity),
    *hub_blocks(r"videomae\.encoder\.layer", ""),
    Rule(r"fc_norm\.weight", "head_norm/scale", identity),
    Rule(r"fc_norm\.bias", "head_norm/bias", identity),
    Rule(r"classifier\.weight", "head/kernel", transpose),
    Rule(r"classifier\.bias", "head/bias", identity),
    refuse(r"videomae\.layernorm\.(?:weight|bias)", "use_mean_pooling false; only mean pooling with fc_norm is"),
    check(r"videomae\.embeddings\.position_embeddings", same_as_table, "the fixed sine-cosine table (verified)"),
)
HUB_PRETRAIN = (
    Rule(
        r"videomae\.embeddings\.patch_embeddings\.projection\.weight",
        "encoder/patch_embed/kernel",
        patch_kernel,
    ),
    Rule(r"videomae\.embeddings\.patch_embeddings\.projection\.bias", "encoder/patch_embed/bias", identity),
    *hub_blocks(r"videomae\.encoder\.layer", "encoder/"),
    Rule(r"videomae\.layernorm\.weight", "encoder/norm/scale", identity),
    Rule(r"videomae\.layernorm\.bias", "encoder/norm/bias", identity),
    Rule(r"encoder_to_decoder\.weight", "encoder_to_decoder/kernel", transpose),
    Rule(r"mask_token", "mask_token", squeeze),
    *hub_blocks(r"decoder\.decoder_layers", "decoder/"),
    Rule(r"decoder\.norm\.weight", "decoder/norm/scale", identity),
    Rule(r"decoder\.norm\.bias", "decoder/norm/bias", identity),
    Rule(r"decoder\.head\.weight", "decoder/head/kernel", transpose),
    Rule(r"decoder\.head\.bias", "decoder/head/bias", identity),
    check(
        r"(?:videomae\.embeddings\.)?position_embeddings",
        same_as_table,
        "the fixed sine-cosine table (verified)",
    ),
    ignore(r"videomae\.pooler\..*", "has no part in the output"),
)


# -- what the tensors tell ------------------------------------------------------------------------------------------
def encoder_sizes(shapes: Shapes, patch: str, stack: str, first_layer: str) -> dict[str, Any]:
    """Width, depth, patch and MLP sizes from the patch kernel [width, 3, tubelet, patch, patch] and the MLP."""
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
    }


def decoder_sizes(shapes: Shapes, stack: str, first_layer: str, ratio: float) -> dict[str, Any]:
    width, _ = shape_of(shapes, "encoder_to_decoder.weight", 2)
    hidden, _ = shape_of(shapes, f"{stack}.0.{first_layer}", 2)
    if hidden != int(width * ratio):
        raise InputError(
            f"the decoder's MLP is {hidden / width:g} times its width, the encoder's {ratio:g} times; they must agree"
        )
    return {"decoder_width": width, "decoder_depth": count_blocks(shapes, stack)}


def original_classifier_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "patch_embed.proj.weight", "blocks", "mlp.fc1.weight")
    return found | {"num_classes": shape_of(shapes, "head.weight", 2)[0]}


def original_pretrain_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "encoder.patch_embed.proj.weight", "encoder.blocks", "mlp.fc1.weight")
    return found | decoder_sizes(shapes, "decoder.blocks", "mlp.fc1.weight", found["mlp_ratio"])


_HUB_PATCH, _HUB_STACK = "videomae.embeddings.patch_embeddings.projection.weight", "videomae.encoder.layer"


def hub_classifier_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, _HUB_PATCH, _HUB_STACK, "intermediate.dense.weight")
    return found | {"num_classes": shape_of(shapes, "classifier.weight", 2)[0]}


def hub_pretrain_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, _HUB_PATCH, _HUB_STACK, "intermediate.dense.weight")
    found |= decoder_sizes(shapes, "decoder.decoder_layers", "intermediate.dense.weight", found["mlp_ratio"])
    # With use_mean_pooling transformers leaves the encoder's last norm out, in the autoencoder too.
    has_norm = any(name.startswith("videomae.layernorm.") for name in shapes)
    return found if has_norm else found | {"encoder_norm": False}


# -- what nobody told ------------------------------------------------------------------------------------------
_PUBLISHED = "as in all published models; the tensors do not tell"
_NORMS = ("norm_eps", "head_norm_eps", "decoder_norm_eps", "decoder_head_norm_eps")


def assume_original(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    found = {"num_frames": 16, "image_size": 224, "mask_ratio": 0.9} | dict.fromkeys(_NORMS, 1e-6)
    return heads_of(fields) | {name: (value, _PUBLISHED) for name, value in found.items()}


def assume_hub(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """transformers' defaults; its last norms (``fc_norm``, ``decoder.norm``) ignore ``layer_norm_eps``."""
    default, fixed = (1e-12, "transformers' default"), (1e-5, "torch's default, whatever layer_norm_eps says")
    return assume_original(fields) | {name: fixed if "head" in name else default for name in _NORMS}


# -- what settings are called elsewhere ----------------------------------------------------------------------------
_ALIASES = {
    "embed_dim": "width", "input_size": "image_size", "img_size": "image_size", "nb_classes": "num_classes",
    "decoder_embed_dim": "decoder_width",
}  # fmt: skip
_FIXED = {
    "init_values": (0, None), "hidden_act": ("gelu",), "num_channels": (3,), "in_chans": (3,), "qkv_bias": (True,),
    "qv_bias": (True,), "cos_attn": (False,), "use_learnable_pos_emb": (False,), "norm_pix_loss": (True,),
}  # fmt: skip


def _original(*norms: str) -> Vocabulary:
    return Vocabulary({**_ALIASES, "layer_norm_eps": norms}, _FIXED | {"use_mean_pooling": (True,)}, r"drop.*")


def _hub(*norms: str) -> Vocabulary:
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
        )
    aliases |= {
        "decoder_hidden_size": "decoder_width", "decoder_num_hidden_layers": "decoder_depth",
        "decoder_num_attention_heads": "decoder_num_heads",
    }  # fmt: skip
    return Vocabulary({**_ALIASES, **aliases}, _FIXED, ignored + r"|use_mean_pooling|num_labels")


LAYOUTS = (
    Layout(
        "videomae-classifier", "original VideoMAE names", ORIGINAL_CLASSIFIER,
        (r"patch_embed\.proj\.weight|fc_norm\.weight|head\.weight", r"blocks\.\d+\.attn\.(q|v)_bias"),
        original_classifier_sizes, assume_original, check_sizes, _original("norm_eps", "head_norm_eps"),
    ),
    Layout(
        "videomae-pretrain", "original VideoMAE names", ORIGINAL_PRETRAIN,
        (r"encoder\.blocks\.\d+\.attn\.(q|v)_bias",),
        original_pretrain_sizes, assume_original, check_sizes,
        _original("norm_eps", "decoder_norm_eps", "decoder_head_norm_eps"),
    ),
    Layout(
        "videomae-classifier", "Hugging Face names", HUB_CLASSIFIER,
        (r"videomae\.encoder\..*", r"classifier\..*|fc_norm\..*"),
        hub_classifier_sizes, assume_hub, check_sizes, _hub("norm_eps"), model_type="videomae",
    ),
    Layout(
        "videomae-pretrain", "Hugging Face names", HUB_PRETRAIN,
        (r"videomae\.encoder\..*", r"decoder\..*"),
        hub_pretrain_sizes, assume_hub, check_sizes, _hub("norm_eps", "decoder_norm_eps"), model_type="videomae",
    ),
)  # fmt: skip
