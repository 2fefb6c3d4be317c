"""CLIP checkpoints: the original code's names (OpenAI's and OpenCLIP's) and Hugging Face's.

Original: query, key and value fused in ``attn.in_proj_*``; the projections to the common space, ``visual.proj`` and
``text_projection``, are bare arrays [in, out]. Hugging Face: separate projections, and linear layers [out, in] to the
common space. ViCLIP and InternVideo build on the original's names, so its rules are shared from here.

Radford et al. (2021), https://github.com/openai/CLIP; transformers' ``CLIPConfig``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.models.language.text import VideoTextConfig

from ..layouts import Layout
from ..tables.resizing import bicubic_2d, keep_class
from ..tables.rules import Rule, ignore, linear, norm
from ..tables.settings import HUB_IGNORED, Vocabulary, tell
from ..tables.sizes import Shapes, check_sizes, count_blocks, heads_of, mlp_ratio, shape_of
from ..tables.transforms import frame_kernel, identity, split_bias, split_qkv, transpose

PARTS = ("query", "key", "value")


# -- transforms ----------------------------------------------------------------------------------------------------
def one_value(x: np.ndarray) -> np.ndarray:
    """A single value, [] or [1] -> [1]."""
    if x.size != 1:
        raise ValueError("expected one value")
    return x.reshape(1)


# -- the tables ----------------------------------------------------------------------------------------------------
def block(source: str, target: str) -> tuple[Rule, ...]:
    """Rules of a block in the original's names. source: pattern of what comes before ``ln_1``."""
    return (
        *norm(source + "ln_1", target + "norm_1"),
        Rule(source + r"attn\.in_proj_weight", tuple(f"{target}attn/{part}/kernel" for part in PARTS), split_qkv),
        Rule(source + r"attn\.in_proj_bias", tuple(f"{target}attn/{part}/bias" for part in PARTS), split_bias),
        *linear(source + r"attn\.out_proj", target + "attn/out"),
        *norm(source + "ln_2", target + "norm_2"),
        *linear(source + r"mlp\.c_fc", target + "mlp/fc_1"),
        *linear(source + r"mlp\.c_proj", target + "mlp/fc_2"),
    )


def frame_tokens(source: str) -> tuple[Rule, ...]:
    """Class token, positions (resized as grids) and first norm of an image tower whose names begin with ``source``."""
    return (
        Rule(source + "class_embedding", "embedding/class_token", identity),
        Rule(source + "positional_embedding", "embedding/positions", identity, resize=keep_class(bicubic_2d)),
        *norm(source + "ln_pre", "embedding/norm"),
    )


def text_tower(source: str) -> tuple[Rule, ...]:
    """The text tower, whose names begin with ``source``."""
    return (
        Rule(source + r"token_embedding\.weight", "text/tokens", identity),
        Rule(source + "positional_embedding", "text/positions", identity),
        *block(source + r"transformer\.resblocks\.(\d+)\.", r"text/block_\1/"),
        *norm(source + "ln_final", "text/norm"),
        Rule(source + "text_projection", "text/projection", identity),
    )


def hub_tower(source: str, target: str) -> tuple[Rule, ...]:
    """Blocks of a tower in Hugging Face's names."""
    s, t = source + r"\.encoder\.layers\.(\d+)\.", target + r"block_\1/"
    attention = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
    return (
        *norm(s + "layer_norm1", t + "norm_1"),
        *(rule for name, ours in attention.items() for rule in linear(rf"{s}self_attn\.{name}", f"{t}attn/{ours}")),
        *norm(s + "layer_norm2", t + "norm_2"),
        *linear(s + r"mlp\.fc1", t + "mlp/fc_1"),
        *linear(s + r"mlp\.fc2", t + "mlp/fc_2"),
        ignore(source + r"\.embeddings\.position_ids", "counts the positions"),
    )


ORIGINAL = (
    Rule(r"visual\.conv1\.weight", "embedding/patch/kernel", frame_kernel),
    *frame_tokens(r"visual\."),
    *block(r"visual\.transformer\.resblocks\.(\d+)\.", r"block_\1/"),
    *norm(r"visual\.ln_post", "norm"),
    Rule(r"visual\.proj", "projection", identity),
    *text_tower(""),
    Rule("logit_scale", "logit_scale", one_value),
    ignore("input_resolution|context_length|vocab_size", "a size, which the other tensors tell"),
    ignore("attn_mask", "the causal mask"),
)
HUB = (
    Rule(r"vision_model\.embeddings\.patch_embedding\.weight", "embedding/patch/kernel", frame_kernel),
    Rule(r"vision_model\.embeddings\.class_embedding", "embedding/class_token", identity),
    Rule(
        r"vision_model\.embeddings\.position_embedding\.weight", "embedding/positions", identity,
        resize=keep_class(bicubic_2d),
    ),
    *norm(r"vision_model\.pre_layrnorm", "embedding/norm"),
    *hub_tower("vision_model", ""),
    *norm(r"vision_model\.post_layernorm", "norm"),
    Rule(r"visual_projection\.weight", "projection", transpose),
    Rule(r"text_model\.embeddings\.token_embedding\.weight", "text/tokens", identity),
    Rule(r"text_model\.embeddings\.position_embedding\.weight", "text/positions", identity),
    *hub_tower("text_model", "text/"),
    *norm(r"text_model\.final_layer_norm", "text/norm"),
    Rule(r"text_projection\.weight", "text/projection", transpose),
    Rule("logit_scale", "logit_scale", one_value),
)  # fmt: skip


# -- what the tensors tell -----------------------------------------------------------------------------------------
def tower_sizes(shapes: Shapes, stack: str, first_layer: str, prefix: str = "") -> dict[str, Any]:
    """Depth, width and MLP of a stack of blocks. prefix: of our fields' names, such as "text_"."""
    hidden, width = shape_of(shapes, f"{stack}.0.{first_layer}.weight", 2)
    found = {"width": width, "depth": count_blocks(shapes, stack), "mlp_ratio": mlp_ratio(hidden, width)}
    return {prefix + name: value for name, value in found.items()}


def image_sizes(shapes: Shapes, patch: str, positions: str) -> dict[str, Any]:
    """Patch and image size from a kernel [out, 3, (1,) patch, patch] and positions [1 + patches, channel]."""
    _, colours, *time, height, width = shape_of(shapes, patch, len(shapes.get(patch, (0,) * 4)))
    if colours != 3 or height != width or time not in ([], [1]):
        raise InputError(f"tensor {patch} has shape {list(shapes[patch])}, expected square patches of one frame")
    count, _ = shape_of(shapes, positions, 2)
    if (side := math.isqrt(count - 1)) ** 2 != count - 1:
        raise InputError(f"tensor {positions} has {count} positions, expected a class token's and a square grid")
    return {"patch_size": height, "image_size": side * height}


def text_sizes(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """Sizes of the original's text tower, whose names begin with ``prefix``."""
    words, _ = shape_of(shapes, f"{prefix}token_embedding.weight", 2)
    context, _ = shape_of(shapes, f"{prefix}positional_embedding", 2)
    _, embed = shape_of(shapes, f"{prefix}text_projection", 2)
    found = tower_sizes(shapes, f"{prefix}transformer.resblocks", "mlp.c_fc", "text_")
    return found | {"vocab_size": words, "context_length": context, "embed_dim": embed}


def original_sizes(shapes: Shapes) -> dict[str, Any]:
    return (
        tower_sizes(shapes, "visual.transformer.resblocks", "mlp.c_fc")
        | image_sizes(shapes, "visual.conv1.weight", "visual.positional_embedding")
        | text_sizes(shapes, "")
    )


def hub_sizes(shapes: Shapes) -> dict[str, Any]:
    vision, text = "vision_model.embeddings.", "text_model.embeddings."
    words, _ = shape_of(shapes, f"{text}token_embedding.weight", 2)
    context, _ = shape_of(shapes, f"{text}position_embedding.weight", 2)
    embed, _ = shape_of(shapes, "text_projection.weight", 2)
    return (
        tower_sizes(shapes, "vision_model.encoder.layers", "mlp.fc1")
        | image_sizes(shapes, f"{vision}patch_embedding.weight", f"{vision}position_embedding.weight")
        | tower_sizes(shapes, "text_model.encoder.layers", "mlp.fc1", "text_")
        | {"vocab_size": words, "context_length": context, "embed_dim": embed}
    )


# Width -> heads of the published towers (OpenAI's, and OpenCLIP's up to bigG, 1664, and e, 1792).
HEADS = {384: 6, 512: 8, 768: 12, 896: 14, 1024: 16, 1280: 16, 1408: 16, 1664: 16, 1792: 16}
TEXT_HEADS = {384: 6, 512: 8, 640: 10, 768: 12, 1024: 16, 1280: 20}


# -- what nobody told ----------------------------------------------------------------------------------------------
def assume_towers(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Heads, norms and end token, as all networks with CLIP's towers have them."""
    found = heads_of(fields, HEADS) | heads_of(fields, TEXT_HEADS, "text_")
    found["norm_eps"] = (1e-5, "as in all published models; the tensors do not tell")
    if "vocab_size" in fields:
        found["end_token"] = (fields["vocab_size"] - 1, "the largest id")
    return found


def assume(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    found = assume_towers(fields) | {"num_frames": (1, "CLIP sees images")}
    # OpenAI published these widths; larger networks are others', of which some have the one, some the other.
    if fields.get("width") not in (896, 1280, 1408, 1664, 1792):
        found["activation"] = ("quick_gelu", "OpenAI's; tell \"gelu\" for OpenCLIP's networks of LAION")
    return found


def check(config: Any) -> list[str]:
    """What does not fit together, in words."""
    problems = check_sizes(config)
    if config.text_num_heads < 1 or config.text_width % config.text_num_heads:
        problems.append(
            f"text_width = {config.text_width} is no multiple of text_num_heads = {config.text_num_heads}; "
            + tell(["text_num_heads"])
        )
    if not 0 <= config.end_token < config.vocab_size:
        problems.append(f"end_token = {config.end_token} is none of the {config.vocab_size} ids of the vocabulary")
    if config.activation not in ("quick_gelu", "gelu"):
        problems.append(f"activation = {config.activation!r} is not supported (only 'quick_gelu' or 'gelu')")
    return problems


# -- what settings are called elsewhere ----------------------------------------------------------------------------
ALIASES: dict[str, str | tuple[str, ...]] = {
    "text_heads": "text_num_heads", "text_layers": "text_depth", "layer_norm_eps": "norm_eps",
    "hidden_act": "activation",
}  # fmt: skip
_TOWER = {
    "hidden_size": "width", "num_hidden_layers": "depth", "num_attention_heads": "num_heads",
}  # fmt: skip
_SHARED = {"hidden_act": "activation", "layer_norm_eps": "norm_eps"}
_TEXT = {"eos_token_id": "end_token", "max_position_embeddings": "context_length", "vocab_size": "vocab_size"}
_VISION = {"image_size": "image_size", "patch_size": "patch_size"}
# How weights would be drawn and sentences generated, which files of older versions say about both towers.
_HARMLESS = (
    r"|intermediate_size|projection_dim|initializer_factor|logit_scale_init_value|(text|vision)_config_dict"
    r"|bad_words_ids|.*suppress_tokens|do_sample|early_stopping|.*_penalty|(max|min)_length|.*no_repeat_ngram_size"
    r"|num_beam.*|num_return_sequences|remove_invalid_values|temperature|top_[kp]|typical_p|tf_legacy_loss"
)


def open_clip_settings(config: dict[str, Any]) -> dict[str, Any]:
    """OpenCLIP's ``open_clip_config.json`` as settings in our names; unknown ones keep their names and are refused."""
    inner = config.get("model_cfg")
    model: dict[str, Any] = inner if isinstance(inner, dict) else config
    towers = {key: model[key] for key in ("vision_cfg", "text_cfg") if isinstance(model.get(key), dict)}
    found = {key: value for key, value in model.items() if key not in towers and key != "quick_gelu"}
    found["activation"] = "quick_gelu" if model.get("quick_gelu") else "gelu"
    vision, text = (dict(towers.get(key, {})) for key in ("vision_cfg", "text_cfg"))
    head_width, width = vision.pop("head_width", 64), vision.get("width")
    if isinstance(width, int) and isinstance(head_width, int) and head_width > 0:
        found["num_heads"] = width // head_width
    for group, prefix in ((vision, ""), (text, "text_")):
        found |= {_OPEN_CLIP.get(prefix + key, f"{prefix}{key}"): value for key, value in group.items()}
    colours = config.get("preprocess_cfg")
    return found | {k: v for k, v in (colours if isinstance(colours, dict) else {}).items() if k in ("mean", "std")}


_OPEN_CLIP = {
    "layers": "depth", "text_layers": "text_depth", "text_heads": "text_num_heads", "text_vocab_size": "vocab_size",
    "text_context_length": "context_length",
}  # fmt: skip
# How weights are drawn, precision, and masks that only the training has.
_OPEN_CLIP_HARMLESS = r"init_logit_scale|init_logit_bias|patch_dropout|cast_dtype|custom_text|text_proj_bias"


def end_token(said: Any) -> Any:
    """Older files say 2, and mean the largest id of CLIP's vocabulary."""
    return VideoTextConfig.end_token if said == 2 else said


HUB_VOCABULARY = Vocabulary(
    {
        **_SHARED,
        "projection_dim": "embed_dim",
        **{f"text_config.{theirs}": f"text_{ours}" for theirs, ours in _TOWER.items()},
        **{f"text_config.{theirs}": ours for theirs, ours in (_SHARED | _TEXT).items()},
        **{f"vision_config.{theirs}": ours for theirs, ours in (_SHARED | _TOWER | _VISION).items()},
    },
    {"vision_config.num_channels": (3,)},
    HUB_IGNORED + _HARMLESS,
    {"text_config.eos_token_id": end_token},
    # transformers leaves out of a tower's settings what is its default.
    defaults={
        f"{tower}.{name}": value
        for tower in ("text_config", "vision_config")
        for name, value in (("hidden_act", "quick_gelu"), ("layer_norm_eps", 1e-5))
    }
    | {"text_config.num_attention_heads": 8, "vision_config.num_attention_heads": 12},
)

LAYOUTS = (
    Layout(
        "clip", "original CLIP names", ORIGINAL,
        (r"visual\.proj", r"visual\.class_embedding", r"visual\.ln_post\..*", r"transformer\.resblocks\..*"),
        original_sizes, assume, check, Vocabulary(ALIASES, {}, _OPEN_CLIP_HARMLESS), resizable=("image_size",),
        side=("open_clip_config.json", open_clip_settings),
    ),
    Layout(
        "clip", "Hugging Face names", HUB,
        (r"vision_model\.pre_layrnorm\..*", r"text_model\..*", r"visual_projection\.weight"),
        hub_sizes, assume, check, HUB_VOCABULARY, resizable=("image_size",), model_type="clip",
    ),
)  # fmt: skip
