"""Checkpoints of InternVideo's multi-modality network: CLIP's names, and extractors ``visual.transformer.dec.J``.

The published file is Lightning's: the network lies under ``clip.``, beside tensors of the training that have no part in
it. ``dpe.J`` is the depth-wise convolution of extractor J, counted from 0 there and from 1 here. The tensors tell how
many extractors there are; that they stand after the last blocks is what all published networks do.

Wang et al. (2022), https://github.com/OpenGVLab/InternVideo (InternVideo1, Multi-Modalities-Pretraining).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError

from ..layouts import Layout
from ..tables.rules import Rule, ignore, norm
from ..tables.settings import Vocabulary, tell
from ..tables.sizes import Shapes, count_blocks
from ..tables.transforms import identity, patch_kernel, squeeze
from .clip import (
    ALIASES,
    assume_towers,
    block,
    frame_tokens,
    image_sizes,
    one_value,
    text_sizes,
    text_tower,
    tower_sizes,
)
from .clip import check as check_clip

MAX_EXTRACTORS = 8
# Where a name must begin to belong to the network's forward pass.
ROOTS = r"visual|transformer|token_embedding|positional_embedding|ln_final|text_projection|logit_scale|text_mask"


def depthwise_kernel(x: np.ndarray) -> np.ndarray:
    """Depth-wise Conv3d weight [channel, 1, 3, 3, 3] -> [3, 3, 3, channel]."""
    if x.ndim != 5 or x.shape[1] != 1:
        raise ValueError("expected [channel, 1, time, height, width]")
    return x[:, 0].transpose(1, 2, 3, 0)


def extractor(source: str, index: int) -> tuple[Rule, ...]:
    """Rules of one extractor. source: pattern of what comes before ``dec``.  index: counted from 0."""
    target = f"extractor_{index + 1}/"
    return (
        Rule(rf"{source}dpe\.{index}\.weight", target + "surround/kernel", depthwise_kernel),
        Rule(rf"{source}dpe\.{index}\.bias", target + "surround/bias", identity),
        *block(rf"{source}dec\.{index}\.", target),
        *norm(rf"{source}dec\.{index}\.ln_3", target + "norm_memory"),
    )


def rules(source: str) -> tuple[Rule, ...]:
    """The network whose names begin with ``source``."""
    vision, stack = source + r"visual\.", source + r"visual\.transformer\."
    return (
        Rule(vision + r"conv1\.weight", "embedding/patch/kernel", patch_kernel),
        *(Rule(rule.pattern, rule.target, rule.transform) for rule in frame_tokens(vision)),
        *block(stack + r"resblocks\.(\d+)\.", r"block_\1/"),
        *(rule for j in range(MAX_EXTRACTORS) for rule in extractor(stack, j)),
        Rule(stack + "temporal_cls_token", "video_token", squeeze),
        Rule(stack + "balance", "balance", identity),
        *norm(source + "visual_ln_post", "norm"),
        Rule(source + "visual_proj", "projection", identity),
        *text_tower(source),
        Rule(source + "logit_scale", "logit_scale", one_value),
        ignore(source + "text_mask_embedding", "a token for masked sentences, which only the training has"),
    )


LIGHTNING = (
    *rules(r"clip\."),
    ignore(r"(?!clip\.).*", "lies outside the network (clip.)"),
    ignore(rf"clip\.(?!{ROOTS}).*", "has no part in the features of videos and sentences"),
)


# -- what the tensors tell, and what nobody told -------------------------------------------------------------------
def sizes(shapes: Shapes) -> dict[str, Any]:
    found = (
        tower_sizes(shapes, "visual.transformer.resblocks", "mlp.c_fc")
        | image_sizes(shapes, "visual.conv1.weight", "visual.positional_embedding")
        | text_sizes(shapes, "")
    )
    extractors = count_blocks(shapes, "visual.transformer.dec")
    if extractors > min(found["depth"], MAX_EXTRACTORS):
        raise InputError(
            f"{extractors} extractors for {found['depth']} blocks; at most one a block and {MAX_EXTRACTORS}"
        )
    return found | {"extractor_blocks": tuple(range(found["depth"] - extractors, found["depth"]))}


def lightning_sizes(shapes: Shapes) -> dict[str, Any]:
    return sizes({name.removeprefix("clip."): shape for name, shape in shapes.items() if name.startswith("clip.")})


def assume(fields: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    return assume_towers(fields) | {
        "num_frames": (8, "as it was trained; the tensors do not tell"),
        "activation": ("quick_gelu", "as in the published networks"),
        "pseudo_clips": (1, "all frames are one video"),
    }


def check(config: Any) -> list[str]:
    """What does not fit together, in words."""
    problems, blocks = check_clip(config), config.extractor_blocks
    if list(blocks) != sorted({b for b in blocks if 0 <= b < config.depth}):
        problems.append(f"extractor_blocks = {list(blocks)} are no ascending block numbers below {config.depth}")
    if config.pseudo_clips < 1 or config.num_frames % config.pseudo_clips:
        problems.append(
            f"num_frames = {config.num_frames} is no multiple of pseudo_clips = {config.pseudo_clips}; "
            + tell(["pseudo_clips"])
        )
    return problems


VOCABULARY = Vocabulary(ALIASES | {"t_size": "num_frames", "return_list": "extractor_blocks"}, {}, "")

LAYOUTS = (
    Layout(
        "internvideo-mm", "Lightning's names", LIGHTNING,
        (r"clip\.visual\.transformer\.dpe\..*", r"clip\.visual_proj"),
        lightning_sizes, assume, check, VOCABULARY, resizable=("extractor_blocks",),
    ),
    Layout(
        "internvideo-mm", "original names", rules(""),
        (r"visual\.transformer\.dpe\..*", r"visual_proj"),
        sizes, assume, check, VOCABULARY, resizable=("extractor_blocks",),
    ),
)  # fmt: skip
