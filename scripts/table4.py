"""The paper's table 4 on small shipped models: does a concept track the target, its occluder, its container?

    python scripts/table4.py                              # table4.csv and table4.md in runs/table4

Every seed has clips of its own, with true masks. Concepts are found on some of them; the one that overlaps most with a
mask there is judged on the others, by its mean IoU over all voxels of a clip.

    tubelets        VTCD as released
    tokens          the same concepts, given to tokens by the nearest mean
    hierarchy       these and half as many unions of them
    single tokens   concepts found in single tokens, as many as the knee gives
    … centres       for each of the four the best of as many random centres (with as many unions), mean of the draws
    random crops    concepts made of random boxes
    random groups   the best of as many random groups of tubelets, mean of the draws
    own output      the model's own mask of the same thing (trackers)
    whole tokens    the ceiling

± Student's 95 % over seeds. "−" beside random centres: clearly below their way, seed by seed; beside crops and groups:
below tubelets. "+": clearly above tubelets.

Kowal et al. (2024), VTCD, table 4; what differs: ``docs/reproduction.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import tyro
from removal import half_width
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax import world
from vtcd_jax.concepts import (
    Concepts,
    ElbowRule,
    NmfConfig,
    SlicConfig,
    best_overlap,
    nearest_centres,
    random_centres,
    random_overlaps,
)
from vtcd_jax.concepts.hierarchy import with_tree
from vtcd_jax.concepts.settings import Proposals
from vtcd_jax.concepts.tokens import assign_tokens, tubelet_means
from vtcd_jax.concepts.tubelets.pooling import cell_counts
from vtcd_jax.data import Clips
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import Model, family_of, forward
from vtcd_jax.runs.tables import write_csv

MASKS = ("target", "target_whole", "occluder", "container")
OUTPUTS = {"target_whole": 0, "occluder": 1, "container": 2}  # channels of a tracker's masks
PROPOSALS: dict[str, Proposals] = {"tubelets": "slic", "random crops": "crops"}
TREE = 0.5  # inner nodes per concept
WAYS = (
    "tubelets", "tubelets, centres", "tokens", "tokens, centres", "hierarchy", "hierarchy, centres", "single tokens",
    "single tokens, centres", "random crops", "random groups", "own output", "whole tokens",
)  # fmt: skip
BELOW = {  # way -> the way that it is compared with
    "tubelets, centres": "tubelets", "tokens, centres": "tokens", "hierarchy, centres": "hierarchy",
    "single tokens, centres": "single tokens", "random crops": "tubelets", "random groups": "tubelets",
}  # fmt: skip
ABOVE = {"tokens": "tubelets", "hierarchy": "tubelets", "single tokens": "tubelets"}
LEARNED = ("tubelets", "tokens", "hierarchy", "single tokens")
Pair = tuple[Concepts, Concepts]
"""The same concepts on the clips that they are chosen on and on those that they are judged on."""


@dataclass(frozen=True)
class Settings:
    """What the table depends on."""

    models: tuple[str, ...] = ("world-videomae", "world-tcow")
    out: Path = Path("runs/table4")
    clips: int = 24
    """Clips that concepts are found and chosen on."""
    held_out: int = 24
    """Clips that they are judged on."""
    seeds: int = 5
    draws: int = 10
    """Draws of random centres and of random groups."""


def iou(found: np.ndarray, masks: np.ndarray) -> float:
    """Mean over clips with a mask of the IoU over all voxels; bool [video, time, height, width]."""
    axes = (1, 2, 3)
    both, either = (found & masks).sum(axes), (found | masks).sum(axes)
    return float(np.mean((both / np.maximum(either, 1))[masks.any(axes)]))


def own_masks(model: Model, clips: Clips) -> np.ndarray | None:
    """bool [video, time, height, width, channel], what the unmodified network says; None for classifiers."""
    if "query" not in family_of(model).needs:
        return None
    run = jax.jit(lambda m, inputs: forward(m, inputs)[0].masks)
    return np.stack([np.asarray(run(model, clip_inputs(model, clips, video)))[0] > 0 for video in range(len(clips))])


def whole_tokens(model: Model, masks: np.ndarray) -> np.ndarray:
    """The masks as whole tokens, those that are covered to half or more: the most that a concept can reach."""
    _, t, h, w = (len(masks), *model.config.grid)
    size = np.prod(masks.shape[1:]) / (t * h * w)
    tokens = np.stack([cell_counts(mask, (t, h, w)) for mask in masks]) >= size / 2
    for axis, (fine, coarse) in enumerate(zip(masks.shape[1:], (t, h, w), strict=True), 1):
        tokens = np.repeat(tokens, fine // coarse, axis)
    return tokens


def measure(settings: Settings, model: Model, seed: int) -> list[dict[str, object]]:
    """A row per mask and way of a seed."""
    p = model.preprocessing
    config = world.WorldConfig(size=p.height, frames=p.num_frames)
    clips = world.clips(settings.clips + settings.held_out, seed=seed + 1, config=config, split="held-out")
    first, other = clips[: settings.clips], clips[settings.clips :]
    key, sets = jax.random.key(seed), {}
    for way, proposals in PROPOSALS.items():
        found = vtcd.concepts.discover(
            model, first, slic=SlicConfig(proposals=proposals), nmf=NmfConfig(refits=0, assign="tubelets"), key=key
        )
        sets[way] = found, vtcd.concepts.assign(model, other, found)
    sets |= of_tokens(model, first, other, sets["tubelets"][0])
    slic, nmf = SlicConfig(proposals="tokens"), NmfConfig(refits=0, elbow=ElbowRule(rule="knee"))
    single = vtcd.concepts.discover(model, first, slic=slic, nmf=nmf, key=key)
    sets["single tokens"] = single, vtcd.concepts.assign(model, other, single)
    keys = [jax.random.fold_in(key, draw) for draw in range(settings.draws)]
    centres = {way: with_centres(model, first, other, sets[way], keys) for way in LEARNED}
    own, rows = own_masks(model, other), []
    for name in MASKS:
        masks = first.masks[name], other.masks[name]
        ious = {way: best_overlap(one, masks[0], two, masks[1]).held_out for way, (one, two) in sets.items()}
        for way, drawn in centres.items():
            best = [best_overlap(one, masks[0], two, masks[1]).held_out for one, two in drawn]
            ious[f"{way}, centres"] = float(np.mean(best))
        one, two = sets["tubelets"]
        groups = random_overlaps(one, masks[0], two, masks[1], draws=settings.draws, key=key)
        ious["random groups"] = float(groups.mean())
        if own is not None and name in OUTPUTS:
            ious["own output"] = iou(own[..., OUTPUTS[name]], masks[1])
        ious["whole tokens"] = iou(whole_tokens(model, masks[1]), masks[1])
        rows += [{"model": model.name, "mask": name, "way": way, "seed": seed, "iou": v} for way, v in ious.items()]
    return rows


def of_tokens(model: Model, first: Clips, other: Clips, found: Concepts) -> dict[str, Pair]:
    """The concepts of tubelets, given to tokens; and with a hierarchy."""
    means = tubelet_means(found.tubelets, found.assignment, len(found))
    tokens = replace(found, centres=means, origin=found.tubelets)
    trees = {"tokens": tokens, "hierarchy": with_tree(tokens, found.tubelets, found.assignment, TREE)}
    known = {way: assign_tokens(model, first, one) for way, one in trees.items()}
    return {way: (one, vtcd.concepts.assign(model, other, one)) for way, one in known.items()}


def with_centres(model: Model, first: Clips, other: Clips, pair: Pair, keys: list[jax.Array]) -> list[Pair]:
    """Random centres in the place of the concepts, a pair per draw."""
    centres = [random_centres(pair[0], key) for key in keys]
    known, new = (nearest_centres(model, c, one, centres) for c, one in zip((first, other), pair, strict=True))
    return list(zip(known, new, strict=True))


def table(rows: list[dict]) -> str:
    """Markdown: a row per model and mask, a column per way."""
    lines = ["| model | mask | " + " | ".join(WAYS) + " |", "|---" * (len(WAYS) + 2) + "|"]
    for model, mask in dict.fromkeys((r["model"], r["mask"]) for r in rows):
        own = [r for r in rows if (r["model"], r["mask"]) == (model, mask)]
        values = {way: np.array([r["iou"] for r in own if r["way"] == way]) for way in WAYS}
        cells = []
        for way, ious in values.items():
            cells.append(f"{ious.mean():.3f} ± {half_width(ious):.3f}" if len(ious) else "")
            for sign, mark, others in ((1, "−", BELOW), (-1, "+", ABOVE)):
                gain = sign * (values[others[way]] - ious) if way in others else np.zeros(0)
                cells[-1] += f" {mark}" if len(gain) and gain.mean() > half_width(gain) else ""
        lines.append(f"| {model} | {mask.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(settings: Settings) -> None:
    todo = [(name, seed) for name in settings.models for seed in range(settings.seeds)]
    rows = [row for name, seed in tqdm(todo, "seeds") for row in measure(settings, vtcd.models.load(name), seed)]
    settings.out.mkdir(parents=True, exist_ok=True)
    write_csv(settings.out / "table4.csv", rows, tuple(rows[0]))
    text = table(rows)
    (settings.out / "table4.md").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
