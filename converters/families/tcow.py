"""TCOW checkpoints: the seeker's state dict under ``net_seeker``, its settings under ``seeker_args``.

The backbone has the original TimeSformer's names behind ``seeker.tracker_backbone.timesformer.model.``. Its last
``norm`` lies in every file and is not applied. The mask head gives a patch's logits in the order (mask, row, column);
ours are (row, column, mask). Height and width of the clips, heads and the kind of attention cannot be told by the
tensors; the training arguments tell them.

Van Hoorick, Tokmakov, Stent, Li & Vondrick (2023), https://github.com/basilevh/tcow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.models.families.tcow import FLAGS, MASKS, SIZES, TCOWConfig

from ..layouts import WRAPPERS, Layout
from ..tables.rules import Rule, linear, norm
from ..tables.settings import Vocabulary, tell
from ..tables.sizes import Shapes, check_sizes, heads_of, shape_of
from .timesformer import ORIGINAL_EMBEDDING, embedding, encoder_sizes, original_blocks


# -- transforms ----------------------------------------------------------------------------------------------------
def mask_bias(x: np.ndarray) -> np.ndarray:
    """[(mask, row, column), …] -> [(row, column, mask), …]."""
    side = math.isqrt(len(x) // MASKS) if x.ndim else 0
    if side < 1 or len(x) != MASKS * side**2:
        raise ValueError(f"expected {MASKS} masks of square patches")
    return np.moveaxis(x.reshape(MASKS, side, side, *x.shape[1:]), 0, 2).reshape(x.shape)


def mask_kernel(x: np.ndarray) -> np.ndarray:
    """Linear weight [(mask, row, column), in] -> [in, (row, column, mask)]."""
    if x.ndim != 2:
        raise ValueError("expected 2 axes")
    return mask_bias(x).T


RULES = (
    # A grid that is not square has no resizing in the original.
    *embedding(ORIGINAL_EMBEDDING, resize=None),
    *original_blocks(divided=True),
    Rule(r"tracker_post_linear\.weight", "mask_head/kernel", mask_kernel),
    Rule(r"tracker_post_linear\.bias", "mask_head/bias", mask_bias),
    *linear("flag_post_linear", "flag_head"),
    *(replace(rule, spare="a norm that is not applied (norm_embeddings is false)") for rule in norm("norm", "norm")),
)


# -- what the tensors tell -----------------------------------------------------------------------------------------
def sizes(shapes: Shapes) -> dict[str, Any]:
    found = encoder_sizes(shapes, "patch_embed.proj.weight", "blocks", "mlp.fc1.weight", 4)
    logits, _ = shape_of(shapes, "tracker_post_linear.weight", 2)
    if logits != MASKS * found["patch_size"] ** 2:
        raise InputError(f"tensor tracker_post_linear.weight gives {logits} logits a patch, expected {MASKS} masks")
    flags = "flag_post_linear.weight" in shapes
    if flags and shape_of(shapes, "flag_post_linear.weight", 2)[0] != FLAGS:
        raise InputError(f"tensor flag_post_linear.weight does not give {FLAGS} flags")
    return found | {"num_frames": shape_of(shapes, "time_embed", 3)[1], "flags": flags}


def assume(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Causality and the mask head's stride are left out: published settings and the code's defaults differ."""
    published = "as in the published network; nobody told"
    settings = {"norm_embeddings": False, "normalise_rgb": True, "mask_upsampling": "bilinear"}
    return (
        heads_of(fields, dict(SIZES.values()))
        | {"norm_eps": (1e-6, "as in the original code; the tensors do not tell")}
        | {name: (value, published) for name, value in settings.items()}
    )


def check(config: TCOWConfig) -> list[str]:
    """What does not fit together in a config, in words."""
    problems = check_sizes(config) if min(config.image_height, config.image_width) > 0 else []
    for name in ("image_height", "image_width"):
        size, patch, stride = getattr(config, name), config.patch_size, config.mask_stride
        if size < 1 or stride < 1 or size % max(patch, 1) or size % stride:
            problems.append(f"{name} = {size} is no multiple of patch_size = {patch} and mask_stride = {stride}")
    if config.mask_upsampling not in ("bilinear", "nearest"):
        problems.append(f"mask_upsampling = {config.mask_upsampling!r}; only 'bilinear' or 'nearest'")
    if config.causal_attention < -1:
        problems.append(f"causal_attention = {config.causal_attention}; {tell(['causal_attention'])}, at least -1")
    return problems


# -- what settings are called there --------------------------------------------------------------------------------
YES = ("1", "y", "yes", "t", "true")
NO = ("0", "n", "no", "f", "false", "")


def switch(value: Any) -> bool:
    """The original's words for yes, in any case, and its words for no."""
    if isinstance(value, str) and value.lower() in YES:
        return True
    if value in (False, None) or (isinstance(value, str) and value.lower() in NO):
        return False
    if value in (True, 1):
        return True
    raise ValueError("expected 0 or 1")


def pretrained(value: Any) -> bool:
    """Whether the backbone began from trained weights, and so normalises colours: True, a word for yes, or the path of
    a file. The original takes any other text of at most five characters for no."""
    if isinstance(value, str):
        return value.lower() in YES or len(value) > 5
    return switch(value)


def whole(value: Any) -> int:
    """A count that may have been written as a truth value or a word."""
    try:
        return int(value)
    except (TypeError, OverflowError):
        raise ValueError("expected a whole number") from None


_ALIASES = {
    "frame_height": "image_height", "frame_width": "image_width", "num_total_frames": "num_frames",
    "embed_dim": "width", "network_depth": "depth", "layer_norm_eps": "norm_eps", "tracker_pretrained": "normalise_rgb",
    "normalize_rgb": "normalise_rgb", "track_map_stride": "mask_stride", "track_map_resize": "mask_upsampling",
}  # fmt: skip
_FIXED = {
    "in_channels": (4,), "output_channels": (3,), "flag_channels": (0, 3), "attention_type": ("divided_space_time",),
}  # fmt: skip
_VALUES = {
    "causal_attention": whole, "track_map_stride": whole, "tracker_pretrained": pretrained, "normalize_rgb": switch,
    "norm_embeddings": switch,
}  # fmt: skip
VOCABULARY = Vocabulary(_ALIASES, _FIXED, r"drop.*|num_visible_frames|query_.*|output_.*|which_.*|tracker_.*", _VALUES)

LAYOUTS = (
    Layout(
        "tcow", "original TCOW names", RULES, (r"tracker_post_linear\.weight", r"blocks\.\d+\.temporal_attn\..*"),
        sizes, assume, check, VOCABULARY,
        containers=("net_seeker",), prefixes=("seeker.", "tracker_backbone.timesformer.model.", *WRAPPERS),
        # The seeker's own settings come last: they go before the training program's.
        arguments=("train_args", "seeker_args"), resizable=("num_frames",),
    ),
)  # fmt: skip
