"""TimeSformer checkpoints: the original code's names and Hugging Face's.

Both fuse query, key and value (rows in this order, with biases). Blocks that attend over time and space in turn have
``temporal_attn``, ``temporal_norm1`` and ``temporal_fc`` beside the usual names; the others have them not, so each
code base has two tables. Positions and times are learned tables; for other sizes the original takes the nearest row of
the flattened table.

Bertasius, Wang & Torresani (2021), https://github.com/facebookresearch/TimeSformer; transformers'
``TimesformerConfig``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from vtcd_jax.base.errors import InputError

from ..layouts import Layout
from ..tables.resizing import Resize, keep_class, nearest_1d
from ..tables.rules import Rule, attention, linear, norm
from ..tables.settings import HUB_IGNORED, Vocabulary
from ..tables.sizes import Shapes, check_sizes, count_blocks, heads_of, mlp_ratio, shape_of
from ..tables.transforms import frame_kernel, identity, squeeze, table


# -- the tables ----------------------------------------------------------------------------------------------------
def original_blocks(divided: bool) -> tuple[Rule, ...]:
    s, t = r"blocks\.(\d+)\.", r"block_\1/"
    rules = (
        *norm(s + "norm1", t + "norm_1"),
        *attention(s + r"attn\.", s + r"attn\.proj", t + ("space_attn" if divided else "attn")),
        *norm(s + "norm2", t + "norm_2"),
        *linear(s + r"mlp\.fc1", t + "mlp/fc_1"),
        *linear(s + r"mlp\.fc2", t + "mlp/fc_2"),
    )
    if not divided:
        return rules
    return (
        *rules,
        *norm(s + "temporal_norm1", t + "time_norm"),
        *attention(s + r"temporal_attn\.", s + r"temporal_attn\.proj", t + "time_attn"),
        *linear(s + "temporal_fc", t + "time_dense"),
    )


def hub_blocks(divided: bool) -> tuple[Rule, ...]:
    s, t = r"timesformer\.encoder\.layer\.(\d+)\.", r"block_\1/"
    inner, last = r"attention\.attention\.", r"attention\.output\.dense"
    rules = (
        *norm(s + "layernorm_before", t + "norm_1"),
        *attention(s + inner, s + last, t + ("space_attn" if divided else "attn")),
        *norm(s + "layernorm_after", t + "norm_2"),
        *linear(s + r"intermediate\.dense", t + "mlp/fc_1"),
        *linear(s + r"output\.dense", t + "mlp/fc_2"),
    )
    if not divided:
        return rules
    return (
        *rules,
        *norm(s + "temporal_layernorm", t + "time_norm"),
        *attention(s + f"temporal_{inner}", s + f"temporal_{last}", t + "time_attn"),
        *linear(s + "temporal_dense", t + "time_dense"),
    )


def embedding(names: tuple[str, str, str, str], resize: Resize | None) -> tuple[Rule, ...]:
    """Rules of patches, class token and tables.

    names: patterns of the tables of positions and of times, the patches and the class token.  resize: of positions.
    """
    positions, times, patches, class_token = names
    return (
        Rule(patches + r"\.weight", "token_embed/patch_embed/kernel", frame_kernel),
        Rule(patches + r"\.bias", "token_embed/patch_embed/bias", identity),
        Rule(class_token, "token_embed/class_token", squeeze),
        Rule(positions, "token_embed/position_table", table, resize=resize),
        Rule(times, "token_embed/time_table", table, resize=nearest_1d),
    )


ORIGINAL_EMBEDDING = "pos_embed", "time_embed", r"patch_embed\.proj", "cls_token"
_HUB_PREFIX = r"timesformer\.embeddings\."
HUB_EMBEDDING = (
    f"{_HUB_PREFIX}position_embeddings",
    f"{_HUB_PREFIX}time_embeddings",
    rf"{_HUB_PREFIX}patch_embeddings\.projection",
    f"{_HUB_PREFIX}cls_token",
)
RESIZE = keep_class(nearest_1d)


def original_rules(divided: bool) -> tuple[Rule, ...]:
    return (
        *embedding(ORIGINAL_EMBEDDING, RESIZE),
        *original_blocks(divided),
        *norm("norm", "norm"),
        *linear("head", "head"),
    )


def hub_rules(divided: bool) -> tuple[Rule, ...]:
    last = *norm(r"timesformer\.layernorm", "norm"), *linear("classifier", "head")
    return (*embedding(HUB_EMBEDDING, RESIZE), *hub_blocks(divided), *last)


# -- what the tensors tell -----------------------------------------------------------------------------------------
def encoder_sizes(shapes: Shapes, patches: str, stack: str, first_layer: str, colours: int) -> dict[str, Any]:
    """Width, depth, patch and MLP sizes from the patch kernel [width, colour, patch, patch] and the MLP."""
    width, channels, height, breadth = shape_of(shapes, patches, 4)
    if channels != colours or height != breadth:
        raise InputError(
            f"tensor {patches} has shape {list(shapes[patches])}, expected {colours} channels and square patches"
        )
    hidden, _ = shape_of(shapes, f"{stack}.0.{first_layer}", 2)
    depth = count_blocks(shapes, stack)
    return {"width": width, "depth": depth, "patch_size": height, "mlp_ratio": mlp_ratio(hidden, width)}


def tables_sizes(shapes: Shapes, positions: str, times: str, patch: int) -> dict[str, Any]:
    """Image size from the table of positions, frames from that of times, where there is one."""
    count = shape_of(shapes, positions, 3)[1] - 1
    side = math.isqrt(max(count, 0))
    if side < 1 or side * side != count:
        raise InputError(f"tensor {positions} has {count} positions beside the class token's, which are no square grid")
    found: dict[str, Any] = {"image_size": side * patch}
    return found | {"num_frames": shape_of(shapes, times, 3)[1]} if times in shapes else found


def original_sizes(shapes: Shapes, divided: bool) -> dict[str, Any]:
    found = encoder_sizes(shapes, "patch_embed.proj.weight", "blocks", "mlp.fc1.weight", 3)
    found |= tables_sizes(shapes, "pos_embed", "time_embed", found["patch_size"])
    return found | {"num_classes": shape_of(shapes, "head.weight", 2)[0], "attention": kind(found, divided)}


def hub_sizes(shapes: Shapes, divided: bool) -> dict[str, Any]:
    name = "timesformer.embeddings."
    stack, first_layer = "timesformer.encoder.layer", "intermediate.dense.weight"
    found = encoder_sizes(shapes, f"{name}patch_embeddings.projection.weight", stack, first_layer, 3)
    found |= tables_sizes(shapes, f"{name}position_embeddings", f"{name}time_embeddings", found["patch_size"])
    return found | {"num_classes": shape_of(shapes, "classifier.weight", 2)[0], "attention": kind(found, divided)}


def kind(found: Mapping[str, Any], divided: bool) -> str:
    """Networks without a table of times look at single frames."""
    if divided:
        return "divided"
    return "joint" if "num_frames" in found else "space"


# -- what nobody told, and what settings are called elsewhere ------------------------------------------------------
def assume(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    return heads_of(fields, {768: 12}) | {"norm_eps": (1e-6, "as in all published models; the tensors do not tell")}


def attention_kind(value: Any) -> str:
    """ "divided_space_time" -> "divided", "joint_space_time" -> "joint", "space_only" -> "space"."""
    kinds = {"divided_space_time": "divided", "joint_space_time": "joint", "space_only": "space"}
    if value not in kinds:
        raise ValueError(f"only {', '.join(kinds)}")
    return kinds[value]


_ALIASES = {
    "embed_dim": "width", "hidden_size": "width", "num_hidden_layers": "depth", "num_attention_heads": "num_heads",
    "img_size": "image_size", "layer_norm_eps": "norm_eps", "num_labels": "num_classes", "attention_type": "attention",
}  # fmt: skip
_FIXED = {"hidden_act": ("gelu",), "num_channels": (3,), "in_chans": (3,), "qkv_bias": (True,)}
_IGNORED = rf"{HUB_IGNORED}|intermediate_size|drop.*"
VOCABULARY = Vocabulary(_ALIASES, _FIXED, _IGNORED, {"attention_type": attention_kind})


def _layout(
    name: str,
    rules: Callable[[bool], tuple[Rule, ...]],
    sizes: Callable[[Shapes, bool], dict[str, Any]],
    marks: tuple[str, ...],
    time_mark: str | None,
    model_type: str | None,
) -> Layout:
    """One code base's layout, of divided networks where there is a mark of attention over time."""
    divided = time_mark is not None
    marks = (*marks, time_mark) if time_mark is not None else marks
    return Layout(
        "timesformer", name, rules(divided), marks, lambda shapes: sizes(shapes, divided), assume, check_sizes,
        VOCABULARY, resizable=("image_size", "num_frames"), model_type=model_type,
    )  # fmt: skip


_ORIGINAL_MARKS = ("cls_token", "pos_embed", r"blocks\.\d+\.attn\.qkv\.bias", r"head\.weight")
_HUB_MARKS = (r"timesformer\.encoder\..*", r"classifier\.weight")
_ORIGINAL = "original TimeSformer names", original_rules, original_sizes, _ORIGINAL_MARKS
_HUB = "Hugging Face names", hub_rules, hub_sizes, _HUB_MARKS
LAYOUTS = (
    _layout(*_ORIGINAL, r"blocks\.\d+\.temporal_attn\..*", None),
    _layout(*_ORIGINAL, None, None),
    _layout(*_HUB, r".*\.temporal_attention\..*", "timesformer"),
    _layout(*_HUB, None, "timesformer"),
)
