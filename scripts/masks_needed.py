"""How many masked passes a ranking needs, by design and estimator, against a reference of 65,536 masks a clip.

    python scripts/masks_needed.py measure --model world-videomae     # hours on a CPU; goes on where it stopped
    python scripts/masks_needed.py report --model world-videomae      # the table, from what has been measured

Pools of masked passes are measured on a few held-out clips of the synthetic world and kept in ``--folder``. From a pool
disjoint windows are read as if they were all there is, with every estimator that fits, and their ranking of the concepts
is compared with the reference: least squares on 65,536 paired masks a clip, none of them in the window. "Needed" is the
smallest number of passes from which on the mean over windows stays above the bar: Spearman 0.95 over all concepts, and
9.5 of the reference's top ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from scipy import stats
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax.concepts import Concepts, load_concepts, save_concepts
from vtcd_jax.data import Clips
from vtcd_jax.importance.blocks import Hadamard
from vtcd_jax.importance.designs import Design, Paired, Random, nothing_removed
from vtcd_jax.importance.engine import score_blocks, tasks
from vtcd_jax.importance.estimators import estimate, from_rows, hadamard_estimate
from vtcd_jax.importance.support import Support
from vtcd_jax.importance.targets import find_targets
from vtcd_jax.models import Model, files

SMOOTH = {
    "world-videomae": ("log_probability", "margin"),
    "world-tcow": ("soft_iou",),
    "world-internvideo": ("logit", "log_probability"),
    "world-videomae-ssl": ("reconstruction",),
}
HARD = {"world-videomae": ("accuracy",), "world-tcow": ("iou",), "world-internvideo": ("accuracy",)}
BARS = {"Spearman": 0.95, "top 10": 0.95}
DISCOVERY = 24  # clips that the concepts are found on; the first of them are ranked


@dataclass(frozen=True)
class Common:
    """What both commands share."""

    model: str = "world-videomae"
    clips: int = 8
    """Clips that are ranked."""
    reference: int = 65_536
    """Masks a clip of the reference."""
    window: int = 8_192
    """Masks a clip of the longest window of pairs; the pool of pairs has as many more."""
    random: int = 16_384
    """Masks a clip of the released design."""
    hadamard: int = 4_096
    """Masks a clip of the Hadamard design, half as many as of the folded one."""
    folder: Path = Path("runs/masks_needed")
    seed: int = 0


@dataclass(frozen=True)
class Measure(Common):
    """Run the masked passes."""

    part: tuple[int, int] = (0, 1)
    """This process takes every part[1]-th clip from part[0] on."""


@dataclass(frozen=True)
class Report(Common):
    """Read the pools and print the table."""


def designs(settings: Common, concepts: int) -> dict[str, Design]:
    """The pools; the released design plays all concepts, also those that a clip does not have."""
    keys = [jax.random.fold_in(jax.random.key(settings.seed), i) for i in range(5)]
    return {
        "untouched": nothing_removed(concepts),
        "folded-hadamard": Hadamard(keys[0], 2 * settings.hadamard),
        "hadamard": Hadamard(keys[1], settings.hadamard, folded=False),
        "random": Random(keys[2], settings.random, players="all"),
        "paired": Paired(keys[3], settings.reference + settings.window),
    }


def problem(settings: Common) -> tuple[Model, Clips, Concepts]:
    """The model, the ranked clips, and the concepts found on ``DISCOVERY`` clips."""
    model = vtcd.models.load(settings.model)
    p = model.preprocessing
    config = vtcd.data.world.WorldConfig(size=p.height, frames=p.num_frames)
    clips = vtcd.data.world.clips(DISCOVERY, seed=settings.seed, config=config, split="held-out")
    folder = settings.folder / settings.model
    try:
        concepts = load_concepts(folder)
    except vtcd.models.InputError:
        concepts = vtcd.concepts.discover(model, clips, key=jax.random.key(settings.seed))
        save_concepts(concepts, folder)
    return model, clips[: settings.clips], concepts


def measure(settings: Measure) -> None:
    model, clips, concepts = problem(settings)
    support = Support({s: ids[: len(clips)] for s, ids in concepts.ids.items()}, len(concepts))
    targets, names = find_targets(model, clips), SMOOTH[settings.model] + HARD.get(settings.model, ())
    for video in range(settings.part[0], len(clips), settings.part[1]):
        for pool, design in designs(settings, len(concepts)).items():
            one = Support({s: ids[[video]] for s, ids in support.ids.items()}, len(concepts))
            for first in range(0, design.masks, 4096):
                path = settings.folder / settings.model / f"{pool}-{video}-{first}.safetensors"
                starts = {t.start for t in tasks(design, one.present()) if first <= t.start < first + 4096}
                if path.exists() or not starts:
                    continue
                blocks = score_blocks(
                    model, clips[[video]], one, design, score=names, targets=targets[[video]],
                    skip=lambda _, start, starts=starts: start not in starts,
                )  # fmt: skip
                shown = tqdm(blocks, f"clip {video}, {pool} {first}", total=len(starts), mininterval=30)
                found = [block.scores for block in shown]
                files.save_safetensors(path, {name: np.concatenate([b[name] for b in found]) for name in names}, {})


def read_pool(settings: Common, pool: str, video: int) -> dict[str, np.ndarray]:
    """Scores name -> float64 [mask]."""
    from safetensors.numpy import load_file

    parts, first = [], 0
    while (path := settings.folder / settings.model / f"{pool}-{video}-{first}.safetensors").exists():
        parts.append(load_file(path))
        first += 4096
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}


@dataclass(frozen=True)
class Pool:
    """A clip's passes under one design. kept: [mask, concept]."""

    design: Design
    kept: np.ndarray
    scores: dict[str, np.ndarray]
    clip_hash: str
    present: np.ndarray


Ranking = Annotated[np.ndarray, "concept"]


def windows(
    kind: str, pools: list[Pool], score: str, masks: int, baseline: np.ndarray
) -> Iterator[tuple[int, Ranking, slice]]:
    """(passes a clip, mean estimate over clips, masks of the pool that were read) of each disjoint window."""
    design, estimator = kind.split(": ")
    if design.endswith("hadamard"):
        sizes = [p.design.block_rows(p.present) for p in pools]  # type: ignore[attr-defined]
        blocks = max(1, round(masks / float(np.mean(sizes))))
        count = min(len(p.scores[score]) // (s * blocks) for p, s in zip(pools, sizes, strict=True))
        for w in range(count):
            values = [hadamard_blocks(p, score, range(w * blocks, (w + 1) * blocks)) for p in pools]
            yield int(np.mean(sizes)) * blocks, np.mean(values, 0), slice(0, 0)
        return
    step = 2 if design == "bernoulli" else 1  # every other row of pairs is a row of fair coins
    for first in range(0, len(pools[0].scores[score]) - step * masks + 1, step * masks):
        rows = slice(first, first + step * masks)
        values = []
        for p, y0 in zip(pools, baseline, strict=True):
            y, kept = p.scores[score][rows][::step], p.kept[rows][::step]
            values.append(from_rows(estimator, y, kept, y0, paired=design == "paired").value)
        yield masks, np.mean(values, 0), rows


def hadamard_blocks(pool: Pool, score: str, blocks: range) -> np.ndarray:
    """The mean over some blocks of a pool."""
    size = pool.design.block_rows(pool.present)  # type: ignore[attr-defined]
    every = []
    for block in blocks:
        part = pool.scores[score][block * size : (block + 1) * size]
        every.append(one_block(pool, part, block))
    return np.mean(every, 0)


def one_block(pool: Pool, y: np.ndarray, block: int) -> np.ndarray:
    size = len(y)
    kept = pool.kept[block * size : (block + 1) * size]
    return np.where(pool.present, 2 * y @ (2 * kept - 1) / size, 0.0)


def main(settings: Measure | Report) -> None:
    measure(settings) if isinstance(settings, Measure) else report(settings)


def report(settings: Report) -> None:
    pass


if __name__ == "__main__":
    main(tyro.cli(Measure | Report, description=__doc__))
