"""Checkpoints of VideoMAE's encoder alone: Hugging Face's ``VideoMAEModel``, the original's and mmaction2's backbones.

They hold the names of the whole networks, less the decoder or the head; an autoencoder's encoder has ``encoder.``
before its names.

Tong, Song, Wang & Wang (2022), https://github.com/MCG-NJU/VideoMAE; transformers' ``VideoMAEModel``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..finding import WRAPPERS
from ..layouts import Layout
from ..tables.rules import Rule, check, norm
from ..tables.settings import Vocabulary
from ..tables.sizes import Shapes, check_sizes
from ..tables.transforms import identity, patch_kernel
from .videomae import hub_blocks, in_mmaction_names, original_blocks, same_as_table
from .videomae_settings import assume_hub, assume_original, encoder_sizes, hub_vocabulary, original_vocabulary

ORIGINAL = (
    Rule(r"patch_embed\.proj\.weight", "patch_embed/kernel", patch_kernel),
    Rule(r"patch_embed\.proj\.bias", "patch_embed/bias", identity),
    *original_blocks("blocks", ""),
    *norm("(?:fc_)?norm", "norm"),
    check("pos_embed", same_as_table, "the fixed sine-cosine table (verified)"),
)
HUB = (
    Rule(r"embeddings\.patch_embeddings\.projection\.weight", "patch_embed/kernel", patch_kernel),
    Rule(r"embeddings\.patch_embeddings\.projection\.bias", "patch_embed/bias", identity),
    *hub_blocks(r"encoder\.layer", ""),
    *norm("layernorm", "norm"),
    check(r"embeddings\.position_embeddings", same_as_table, "the fixed sine-cosine table (verified)"),
)


# -- what the tensors tell ------------------------------------------------------------------------------------------
def _last_norm(shapes: Shapes) -> dict[str, Any]:
    """Hugging Face's and an autoencoder's encoder end in a norm of the tokens, a classifier's in one of their mean."""
    if any(name.startswith("fc_norm.") for name in shapes):
        return {"last_norm": "pooled"}
    has_norm = any(name.startswith(("norm.", "layernorm.")) for name in shapes)
    return {"last_norm": "tokens" if has_norm else "nowhere"}


def original_sizes(shapes: Shapes) -> dict[str, Any]:
    return encoder_sizes(shapes, "patch_embed.proj.weight", "blocks", "mlp.fc1.weight") | _last_norm(shapes)


def mmaction_sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "patch_embed.projection.weight", "blocks", "mlp.layers.0.0.weight")
    return found | _last_norm(shapes)


def hub_sizes(shapes: Shapes) -> dict[str, Any]:
    patch, layer = "embeddings.patch_embeddings.projection.weight", "intermediate.dense.weight"
    return encoder_sizes(shapes, patch, "encoder.layer", layer) | _last_norm(shapes)


# -- what settings are called elsewhere -----------------------------------------------------------------------------
# Of the decoder and the head that are not there; where the last norm stands, the tensors tell.
_GONE = r"|decoder_.*|use_mean_pooling|norm_pix_loss|num_labels|nb_classes|num_classes|mask_ratio"


def _without_rest(vocabulary: Vocabulary) -> Vocabulary:
    """A vocabulary of the whole network for its encoder."""
    return replace(
        vocabulary,
        aliases={k: v for k, v in vocabulary.aliases.items() if not str(v).startswith(("num_classes", "decoder_"))},
        fixed={k: v for k, v in vocabulary.fixed.items() if k not in ("use_mean_pooling", "norm_pix_loss")},
        ignored=vocabulary.ignored + _GONE,
    )


_NORMS = ("norm_eps", "last_norm_eps")
_NEVER = (r".*cls_token", r".*(decoder|projector|teacher|cls_head).*")  # others' encoders, and whole networks
LAYOUTS = (
    Layout(
        "videomae-encoder", "original VideoMAE names", ORIGINAL,
        (r"patch_embed\.proj\..*", r"blocks\.\d+\.attn\.(q|v)_bias"),
        original_sizes, assume_original, check_sizes, _without_rest(original_vocabulary(*_NORMS)),
        never=_NEVER, prefixes=(*WRAPPERS, "encoder."),
    ),
    Layout(
        "videomae-encoder", "mmaction2's names", tuple(map(in_mmaction_names, ORIGINAL)),
        (r"patch_embed\.projection\..*", r"blocks\.\d+\.attn\.(q|v)_bias"),
        mmaction_sizes, assume_original, check_sizes, _without_rest(original_vocabulary(*_NORMS)), never=_NEVER,
    ),
    Layout(
        "videomae-encoder", "Hugging Face names", HUB,
        (r"embeddings\.patch_embeddings\..*", r"encoder\.layer\.\d+\.attention\.attention\.(q_bias|query\.bias)"),
        hub_sizes, assume_hub, check_sizes, _without_rest(hub_vocabulary(*_NORMS)),
        never=_NEVER, prefixes=(*WRAPPERS, "videomae."), model_type="videomae",
    ),
)  # fmt: skip
