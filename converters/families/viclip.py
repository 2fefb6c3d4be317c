"""ViCLIP checkpoints: CLIP's names under ``vision_encoder.`` and ``text_encoder.``.

The vision tower has a vector for every frame besides. ``temp`` divides the cosines in the training loss alone, so it
fills nothing. For another number of frames the original cuts the table of frames off or fills it up with zeros.

Wang et al. (2024), https://github.com/OpenGVLab/InternVideo (InternVid).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..layouts import Layout
from ..tables.resizing import crop_or_zero_pad
from ..tables.rules import Rule, ignore, norm
from ..tables.settings import Vocabulary
from ..tables.sizes import Shapes, shape_of
from ..tables.transforms import identity, patch_kernel, table
from .clip import (
    ALIASES,
    assume_towers,
    block,
    check,
    frame_tokens,
    image_sizes,
    text_sizes,
    text_tower,
    tower_sizes,
)

_VISION, _TIMES = "vision_encoder.", "vision_encoder.temporal_positional_embedding"

RULES = (
    Rule(r"vision_encoder\.conv1\.weight", "embedding/patch/kernel", patch_kernel),
    *frame_tokens(r"vision_encoder\."),
    Rule(r"vision_encoder\.temporal_positional_embedding", "embedding/times", table, resize=crop_or_zero_pad),
    *block(r"vision_encoder\.transformer\.resblocks\.(\d+)\.", r"block_\1/"),
    *norm(r"vision_encoder\.ln_post", "norm"),
    Rule(r"vision_encoder\.proj", "projection", identity),
    *text_tower(r"text_encoder\."),
    ignore("temp", "the temperature of the training loss; labels are predicted with 100 times the cosine"),
)


def sizes(shapes: Shapes) -> dict[str, Any]:
    _, frames, _ = shape_of(shapes, _TIMES, 3)
    return (
        tower_sizes(shapes, f"{_VISION}transformer.resblocks", "mlp.c_fc")
        | image_sizes(shapes, f"{_VISION}conv1.weight", f"{_VISION}positional_embedding")
        | text_sizes(shapes, "text_encoder.")
        | {"num_frames": frames}
    )


def assume(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    return assume_towers(fields) | {"activation": ("quick_gelu", "as in the published networks")}


LAYOUTS = (
    Layout(
        "viclip", "original ViCLIP names", RULES,
        (r"vision_encoder\.temporal_positional_embedding", r"vision_encoder\.proj", r"text_encoder\..*"),
        sizes, assume, check, Vocabulary(ALIASES, {}, ""), resizable=("image_size", "num_frames"),
    ),
)  # fmt: skip
