"""A synthetic world with planted truth: short clips whose class is shown only by motion, with masks and events.

Each clip shows a textured target and one prop (an occluder or a container), in half of the clips a second
object, over a blurred background; ``world_motion`` holds the classes, ``world_textures`` the surfaces.
The same seed gives the same pixels, and clips of two classes with one seed share surfaces, sizes and times.

    video [time, height, width, 3] uint8 RGB        masks [time, height, width] bool
    depth [time, height, width] int8, a ``Layer``: the surface seen at the pixel, larger is nearer

``python -m vtcd_jax.world.generator`` prints the table of docs/world.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.data import tracking
from vtcd_jax.data.clips import Clips

from . import textures as textures
from .motion import CLASSES, Layer, Plan, draw_layout, place_second, plan
from .render import draw_surfaces, render

__all__ = [
    "CLASSES",
    "COLOURS",
    "SHAPES",
    "SPLITS",
    "Layer",
    "WorldClip",
    "WorldConfig",
    "clips",
    "iou_ceiling",
    "sample",
    "training_batch",
    "training_clips",
]

SPLITS, COLOURS, SHAPES = textures.SPLITS, textures.COLOURS, textures.SHAPES
COVERING = CLASSES.index("Covering something and carrying it along")
MASKS = ("target", "target_whole", "occluder", "container")
CONTAINED = 0.75  # share of the target that must be within a container's box, as in TCOW's containment


@dataclass(frozen=True)
class WorldConfig:
    """``size``: height and width in pixels (at least 24); ``frames``: clip length (at least 8); ``texture``: contrast
    of all textures, from 0 (plain colours: easier clips, for the first lessons of a training) to 1."""

    size: int = 48
    frames: int = 16
    texture: float = 1.0

    def __post_init__(self):
        if self.size < 24 or self.frames < 8:
            raise InputError(
                f"world: size {self.size} and frames {self.frames} are too small to show the motions\n"
                "use a size of at least 24 and at least 8 frames"
            )
        if not 0 <= self.texture <= 1:
            raise InputError(f"world: texture is a contrast from 0 to 1, not {self.texture}")


DEFAULT = WorldConfig()


@dataclass(frozen=True, eq=False)
class WorldClip:
    """One clip and its truth; arrays are [time, height, width] (video with a last axis of 3).

    video:         uint8 RGB
    target:        bool, where the target is seen
    target_whole:  bool, where it would be seen if nothing hid it (within the frame); contains ``target``
    occluder:      bool, where an occluder is seen; empty when the prop is a container
    container:     bool, where a container (opening or front wall) is seen; empty when the prop is an occluder
    depth:         int8, the ``Layer`` seen; larger is nearer
    events:        frame numbers, -1 when absent: "onset" and "end" of the motion, "contact" (landing,
                   collision, covering), "hidden_from" and "hidden_to", the first and last frame in which no
                   pixel of the target is seen although it lies in the frame
    contained:     bool [time], whether a container holds or covers at least three quarters of the target
    colour, shape: words for the target's look, of ``COLOURS`` and ``SHAPES``
    label:         index into ``CLASSES``
    """

    video: np.ndarray
    target: np.ndarray
    target_whole: np.ndarray
    occluder: np.ndarray
    container: np.ndarray
    depth: np.ndarray
    events: dict[str, int]
    contained: np.ndarray
    colour: str
    shape: str
    label: int


def sample(seed: int, label: int | None = None, config: WorldConfig = DEFAULT, split: str = "train") -> WorldClip:
    """The clip of ``seed`` (>= 0); ``label`` sets its class, else the seed does.

    ``split`` "held-out" differs from "train" in its random stream and in its parts of the photographs.
    Raises InputError on an unknown split, a label outside ``CLASSES`` or a negative seed.
    """
    rng = _stream(seed, split)
    drawn = int(rng.integers(len(CLASSES)))
    label = drawn if label is None else _checked_label(label)
    layout = draw_layout(rng, label, config.frames)
    surfaces = draw_surfaces(rng, layout, config.size, split, config.texture)
    trajectory = plan(rng, label, layout)
    second = place_second(rng, layout, trajectory)
    video, depth, whole = render(layout, trajectory, second, surfaces, config.size)
    target = depth == trajectory.layer
    prop = (depth == Layer.PROP_BACK) | (depth == Layer.PROP_FRONT)
    nothing = np.zeros_like(prop)
    holds = layout.container and (trajectory.layer == Layer.TARGET_INSIDE or label == COVERING)
    return WorldClip(
        video=surfaces.finish(video),
        target=target,
        target_whole=whole,
        occluder=nothing if layout.container else prop,
        container=prop if layout.container else nothing,
        depth=depth,
        events=_events(trajectory, target, whole),
        contained=_share_in_box(whole, prop) >= CONTAINED if holds else np.zeros(len(prop), bool),
        colour=surfaces.colour,
        shape=surfaces.shapes[0],
        label=label,
    )


def _stream(seed: int, split: str, purpose: int = 0) -> np.random.Generator:
    if split not in SPLITS:
        raise InputError(f"world: unknown split {split!r}; use one of {', '.join(SPLITS)}")
    if seed < 0:
        raise InputError(f"world: seed {seed} is negative; use 0 or more")
    return np.random.default_rng(np.random.SeedSequence((seed, SPLITS.index(split), purpose)))


def _checked_label(label: int) -> int:
    if not 0 <= label < len(CLASSES):
        raise InputError(f"world: label {label} is not a class; use 0 to {len(CLASSES) - 1}")
    return label


def _events(plan: Plan, target: np.ndarray, whole: np.ndarray) -> dict[str, int]:
    hidden = np.flatnonzero(whole.any(axis=(1, 2)) & ~target.any(axis=(1, 2)))
    hiding = {"hidden_from": int(hidden[0]), "hidden_to": int(hidden[-1])} if len(hidden) else {}
    absent = dict.fromkeys(("onset", "end", "contact", "hidden_from", "hidden_to"), -1)
    return absent | plan.events | hiding


def _share_in_box(whole: np.ndarray, prop: np.ndarray) -> np.ndarray:
    """float [time]: fraction of ``whole`` within the box around the visible part of ``prop``."""
    rows, columns = (_between(np.any(prop, axis=axis)) for axis in (2, 1))
    inside = whole & rows[:, :, None] & columns[:, None, :]
    return inside.sum((1, 2)) / np.maximum(whole.sum((1, 2)), 1)


def _between(seen: np.ndarray) -> np.ndarray:
    """bool [time, place]: from the first to the last place that is seen."""
    begun = np.maximum.accumulate(seen, axis=1)
    ends = np.maximum.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
    return begun & ends


def _balanced(rng: np.random.Generator, count: int, labels: Sequence[int] | None) -> np.ndarray:
    """int32 [count]: the classes in turn, in random order; their counts differ by at most one."""
    choices = [_checked_label(int(label)) for label in (range(len(CLASSES)) if labels is None else labels)]
    if not choices:
        raise InputError("world: no class to draw clips from; give at least one label")
    return rng.permutation(np.resize(rng.permutation(choices), count)).astype(np.int32)


def clips(
    count: int,
    seed: int,
    *,
    config: WorldConfig = DEFAULT,
    split: str = "train",
    labels: Sequence[int] | None = None,
) -> Clips:
    """``count`` clips, balanced over ``labels`` (all classes by default), with their four masks and a query mask.

    A clip's name holds the split, label and seed with which ``sample`` gives it again.
    """
    names, chosen, seeds = clip_seeds(count, seed, split, labels)
    shape = (count, config.frames, config.size, config.size)
    video = np.empty((*shape, 3), np.uint8)
    masks = {name: np.empty(shape, bool) for name in MASKS}
    for i, (clip_seed, label) in enumerate(zip(seeds, chosen, strict=True)):
        clip = sample(clip_seed, int(label), config, split)
        video[i] = clip.video
        for name, mask in masks.items():
            mask[i] = getattr(clip, name)
    return Clips.make(video, names, labels=chosen, masks=masks, query=tracking.query_mask(masks["target_whole"]))


def clip_seeds(
    count: int, seed: int, split: str, labels: Sequence[int] | None = None
) -> tuple[tuple[str, ...], np.ndarray, list[int]]:
    """(names, labels int32 [video], seeds for ``sample``) of ``clips``."""
    if count < 1:
        raise InputError(f"world: {count} clips asked for; ask for at least 1")
    rng = _stream(seed, split, purpose=1)
    chosen = _balanced(rng, count, labels)
    seeds = rng.integers(1 << 53, size=count).tolist()
    names = tuple(f"world_{split}_{label:02d}_{clip_seed}" for clip_seed, label in zip(seeds, chosen, strict=True))
    return names, chosen, seeds


def training_batch(
    rng_seed: int, batch: int, config: WorldConfig = DEFAULT, labels: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch of the "train" split; another ``rng_seed``, another batch.

    labels: the classes that are drawn in turn, all by default; one that is named twice comes twice as often.

    Returns (video uint8 [batch, time, height, width, 3], label int32 [batch],
    masks uint8 [batch, time, height, width, 3], 0 or 1, last axis: target, occluder, container).
    """
    drawn = training_clips(rng_seed, batch, config, labels)
    masks = np.stack([np.stack([c.target, c.occluder, c.container], axis=-1) for c in drawn]).astype(np.uint8)
    return np.stack([c.video for c in drawn]), np.array([c.label for c in drawn], np.int32), masks


def training_clips(
    rng_seed: int, count: int, config: WorldConfig = DEFAULT, labels: Sequence[int] | None = None
) -> list[WorldClip]:
    """Clips of the "train" split with all their truth, as ``training_batch`` draws them."""
    rng = _stream(rng_seed, "train", purpose=2)
    chosen = _balanced(rng, count, labels)
    seeds = rng.integers(1 << 53, size=count).tolist()
    return [sample(seed, int(label), config) for seed, label in zip(seeds, chosen, strict=True)]


def iou_ceiling(clips: Clips, grid: tuple[int, int, int] = (8, 6, 6)) -> np.ndarray:
    """float64 [video]: the best IoU with the visible target that a set of whole tokens of ``grid`` can reach.

    Tokens have one size, so the best set holds the most covered ones, down to some coverage.
    NaN where the target is never seen. Raises InputError when ``grid`` does not divide the clip or a mask is
    missing.
    """
    if "target" not in clips.masks:
        raise InputError("world: these clips have no true target mask; make them with world.clips")
    mask = clips.masks["target"]
    if any(n % g for n, g in zip(mask.shape[1:], grid, strict=True)):
        raise InputError(f"world: the token grid {grid} does not divide clips of {mask.shape[1:]}")
    steps = [side for n, g in zip(mask.shape[1:], grid, strict=True) for side in (g, n // g)]
    covered = mask.reshape(len(mask), *steps).sum(axis=(2, 4, 6)).reshape(len(mask), -1)
    covered = -np.sort(-covered, axis=1)
    voxels = np.prod(mask.shape[1:]) // covered.shape[1]
    inside, total = np.cumsum(covered, axis=1), covered.sum(axis=1, keepdims=True)
    union = voxels * np.arange(1, covered.shape[1] + 1) + total - inside
    return np.where(total[:, 0] > 0, (inside / union).max(axis=1), np.nan)


def table(count: int = 1400, seed: int = 0, config: WorldConfig = DEFAULT) -> str:
    """Markdown, one row per class: IoU ceiling, target's fraction of the clip, frames in which it is hidden."""
    drawn = clips(count, seed, config=config, split="held-out")
    ceiling = iou_ceiling(drawn, (config.frames // 2, config.size // 8, config.size // 8))
    seen, whole = (drawn.masks[name].mean(axis=(2, 3)) for name in ("target", "target_whole"))
    hidden = (whole > 0) & (seen == 0)
    lines = [
        "| class | IoU ceiling | worst | target seen, % | whole, % | hidden frames, % |",
        "|---|---|---|---|---|---|",
    ]
    for label, name in [*enumerate(CLASSES), (-1, "all")]:
        rows = drawn.labels == label if label >= 0 else np.ones(len(drawn), bool)
        cells = (100 * seen[rows].mean(), 100 * whole[rows].mean(), 100 * hidden[rows].mean())
        numbers = " | ".join(f"{cell:.1f}" for cell in cells)
        lines.append(f"| {name} | {np.nanmean(ceiling[rows]):.2f} | {np.nanmin(ceiling[rows]):.2f} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
