"""Sizes of a transformer from the shapes of its tensors, and whether they fit together: shared by the tables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from vtcd_jax.base.errors import InputError

from .settings import tell

Shapes = Mapping[str, tuple[int, ...]]
MAX_TOKENS = 200_000


def shape_of(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    """Shape of a tensor that tells sizes. Raises InputError when it is missing or has another number of axes."""
    if name not in shapes:
        raise InputError(f"missing tensor {name}, which tells the network's sizes")
    if len(shapes[name]) != axes or 0 in shapes[name]:
        raise InputError(f"tensor {name} has shape {list(shapes[name])}, expected {axes} axes")
    return shapes[name]


def count_blocks(shapes: Shapes, stack: str) -> int:
    """Blocks of a stack, from the highest number in its names; a number out of all proportion raises InputError."""
    numbers = {int(m[1]) for name in shapes if (m := re.match(rf"{re.escape(stack)}\.(\d{{1,6}})\.", name))}
    depth = 1 + max(numbers, default=-1)
    if depth == 0 or depth > 2 * len(numbers):
        raise InputError(f"the blocks {stack}.N are numbered up to {depth - 1}, but there are {len(numbers)}")
    return depth


def mlp_ratio(hidden: int, width: int) -> float:
    """The ratio that gives back ``hidden`` when multiplied by ``width`` and rounded down."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def heads_of(fields: Mapping[str, Any], published: Mapping[int, int], prefix: str = "") -> dict[str, tuple[Any, str]]:
    """Assumed heads, for ``Layout.assume``: those of the published networks; none for a width that none of them has.

    published: width -> heads.  prefix: of our fields' names, such as "decoder_".
    """
    width = fields.get(f"{prefix}width")
    if width is None or width not in published:
        return {}
    return {f"{prefix}num_heads": (published[width], f"as in the published networks of {width} channels")}


_SIZES = (
    "image_size", "patch_size", "num_frames", "tubelet_size", "width", "depth", "num_heads", "num_classes",
    "decoder_width", "decoder_depth", "decoder_num_heads",
)  # fmt: skip
_MULTIPLES = (
    ("image_size", "patch_size", "image_size"), ("num_frames", "tubelet_size", "num_frames"),
    ("width", "num_heads", "num_heads"), ("decoder_width", "decoder_num_heads", "decoder_num_heads"),
)  # fmt: skip


def check_sizes(config: Any) -> list[str]:
    """What does not fit together in a config, in words; fields that it lacks are not looked at."""
    sizes = {name: getattr(config, name) for name in _SIZES if hasattr(config, name)}
    if bad := [f"{name} = {value}" for name, value in sizes.items() if value < 1]:
        return [f"sizes must be at least 1: {', '.join(bad)}"]
    problems = [
        f"{whole} = {sizes[whole]} is no multiple of {part} = {sizes[part]}; {tell([wrong])}"
        for whole, part, wrong in _MULTIPLES
        if whole in sizes and part in sizes and sizes[whole] % sizes[part]
    ]
    if not problems and math.prod(config.grid) > MAX_TOKENS:
        problems.append(f"a clip of {math.prod(config.grid)} tokens (image_size, num_frames) is out of reach")
    if not 0 <= getattr(config, "mask_ratio", 0.5) < 1:
        problems.append(f"mask_ratio = {config.mask_ratio} is not in [0, 1)")
    problems += [
        f"{name} = {eps} is negative" for name, eps in vars(config).items() if name.endswith("_eps") and eps < 0
    ]
    return problems
