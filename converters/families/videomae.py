"""VideoMAE checkpoints: the original code's names and Hugging Face's, fine-tuned and self-supervised.

Original: ``blocks.N.attn.qkv.weight`` fused (rows query, key, value), ``q_bias`` and ``v_bias`` apart, no key bias.
Hugging Face: separate projections; the files say ``q_bias``, transformers 5 says ``query.bias`` in memory.
Positions are a fixed table and are recomputed; where a file holds it, it is compared.

Tong, Song, Wang & Wang (2022), https://github.com/MCG-NJU/VideoMAE; transformers' ``VideoMAEConfig``.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ..layouts import Layout
from ..tables.rules import Read, Rule, check, ignore, refuse
from ..tables.sizes import check_sizes
from ..tables.transforms import identity, patch_kernel, split_qkv, squeeze, transpose
from .videomae_settings import (
    assume_hub,
    assume_original,
    check_original_autoencoder,
    hub_classifier_sizes,
    hub_pretrain_sizes,
    hub_vocabulary,
    mmaction_classifier_sizes,
    original_classifier_sizes,
    original_pretrain_sizes,
    original_vocabulary,
)


# -- tensors that repeat what is known -----------------------------------------------------------------------------
def same_as_parts(values: np.ndarray, match: re.Match[str], read: Read) -> str | None:
    """``qkv.bias``, which some dumps hold besides its parts, must be [q_bias, any, v_bias]; see ``KEY_BIAS``."""
    query, value = (read(f"{match[1]}.attn.{part}") for part in ("q_bias", "v_bias"))
    if query is None or value is None:
        return "has no q_bias and v_bias beside it to compare with"
    parts = np.split(values, 3) if values.shape == (3 * query.size,) else None
    same = parts is not None and np.array_equal(parts[0], query) and np.array_equal(parts[2], value)
    return None if same else "is not [q_bias, any key bias, v_bias]"


KEY_BIAS = "a key bias, which adds the same to every logit of a query and so has no effect through the softmax"


def any_values(values: np.ndarray, match: re.Match[str], read: Read) -> str | None:
    """For ``check``: only that the values are finite, which is looked at before."""
    return None


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
        check(
            rf"({source}\.\d+)\.attn\.qkv\.bias",
            same_as_parts,
            f"repeats q_bias and v_bias (verified), and holds {KEY_BIAS}",
        ),
        Rule(s + r"gamma_([12])", t + r"scale_\2", identity),
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
        check(s + r"attention\.attention\.(?:k_bias|key\.bias)", any_values, KEY_BIAS),
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


def in_mmaction_names(rule: Rule) -> Rule:
    """A rule of the original's classifier in the names of mmaction2, whose blocks and head are mmcv's."""
    pattern = rule.pattern
    for theirs, ours in (
        (r"patch_embed\.proj\.", r"patch_embed\.projection\."), (r"mlp\.fc1", r"mlp\.layers\.0\.0"),
        (r"mlp\.fc2", r"mlp\.layers\.1"),
    ):  # fmt: skip
        pattern = pattern.replace(theirs, ours)
    return replace(rule, pattern=re.sub(r"^head\\\.", r"cls_head\\.fc_cls\\.", pattern))


LAYOUTS = (
    Layout(
        "videomae-classifier", "mmaction2's names", tuple(map(in_mmaction_names, ORIGINAL_CLASSIFIER)),
        (r"cls_head\.fc_cls\..*", r"blocks\.\d+\.attn\.(q|v)_bias"),
        mmaction_classifier_sizes, assume_original, check_sizes, original_vocabulary("norm_eps", "head_norm_eps"),
    ),
    Layout(
        "videomae-classifier", "original VideoMAE names", ORIGINAL_CLASSIFIER,
        (r"head\..*", r"blocks\.\d+\.attn\.(q|v)_bias"),
        original_classifier_sizes, assume_original, check_sizes, original_vocabulary("norm_eps", "head_norm_eps"),
    ),
    Layout(
        "videomae-pretrain", "original VideoMAE names", ORIGINAL_PRETRAIN,
        (r"encoder\.blocks\.\d+\.attn\.(q|v)_bias", r"(encoder_to_)?decoder\..*"),
        original_pretrain_sizes, assume_original, check_original_autoencoder,
        original_vocabulary("norm_eps", "decoder_norm_eps", "decoder_head_norm_eps"),
    ),
    Layout(
        "videomae-classifier", "Hugging Face names", HUB_CLASSIFIER,
        (r"videomae\.encoder\..*", r"classifier\..*|fc_norm\..*"),
        hub_classifier_sizes, assume_hub, check_sizes, hub_vocabulary("norm_eps"), model_type="videomae",
    ),
    Layout(
        "videomae-pretrain", "Hugging Face names", HUB_PRETRAIN,
        (r"videomae\.encoder\..*", r"decoder\..*"),
        hub_pretrain_sizes, assume_hub, check_sizes, hub_vocabulary("norm_eps", "decoder_norm_eps"),
        model_type="videomae",
    ),
)  # fmt: skip
