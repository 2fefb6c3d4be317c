"""How many masked passes a ranking needs, by design and estimator, against a reference of 65,536 masks a clip.

    python scripts/masks_needed.py measure --model world-videomae     # goes on where it stopped
    python scripts/masks_needed.py report --model world-videomae      # the table, from what has been measured

Pools of masked passes are measured on a few held-out clips of the synthetic world and kept in ``--folder``. From a pool
disjoint windows are read as complete rankings, with every estimator that fits, and the ranking of the concepts
is compared with the reference: least squares on 65,536 paired masks a clip, none of them in the window. "Needed" is the
smallest number of passes from which on the mean over windows stays above the bar: Spearman 0.95 over all concepts, 9.5
of the reference's top ten.

Slopes at random gates, and slopes joined with folded blocks that cost as much, stand beside the masks (smooth scores).
A row of slopes counts as three masked passes; the report measures what it really costs, and the bias of all slopes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax.ablation import scores, slopes
from vtcd_jax.ablation.design import Design, nothing_removed
from vtcd_jax.ablation.engine import score_blocks, tasks
from vtcd_jax.ablation.support import Support
from vtcd_jax.base import files
from vtcd_jax.base.statistics import half_width
from vtcd_jax.concepts import Concepts, load_concepts, save_concepts
from vtcd_jax.data import Clips
from vtcd_jax.data.inputs import seen_clips
from vtcd_jax.importance.designs.hadamard import Hadamard
from vtcd_jax.importance.designs.random import Paired, Random
from vtcd_jax.importance.designs.slopes import DRAW, Joined, Slopes, slope_price
from vtcd_jax.importance.estimation.clips import estimate_clips
from vtcd_jax.importance.estimation.convergence import rank_correlation
from vtcd_jax.importance.estimation.estimators import estimate as library_estimate
from vtcd_jax.importance.estimation.estimators import from_rows
from vtcd_jax.importance.estimation.result import Importance, combine
from vtcd_jax.models import Model
from vtcd_jax.scores.targets import find_targets

SMOOTH = {
    "world-videomae": ("log_probability", "margin"),
    "world-videomae-masks": ("log_probability", "margin"),
    "world-tcow": ("soft_iou",),
    "world-internvideo": ("logit", "log_probability"),
    "world-videomae-ssl": ("reconstruction",),
}
HARD = {
    "world-videomae": ("accuracy",), "world-videomae-masks": ("accuracy",), "world-tcow": ("iou",),
    "world-internvideo": ("accuracy",),
}  # fmt: skip
BARS = {"Spearman": 0.95, "top 10": 0.95}
PART = 4096  # masks of a file
DISCOVERY = 24  # clips for discovery; the first of them are ranked


@dataclass(frozen=True)
class Common:
    """Settings of both commands."""

    model: str = "world-videomae"
    clips: int = 8
    """Clips that are ranked."""
    reference: int = 65_536
    """Masks a clip of the reference."""
    window: int = 8_192
    """Masks a clip of the longest window of pairs; the pool of pairs has as many more."""
    random: int = 32_768
    """Masks a clip of the released design."""
    hadamard: int = 16_384
    """Masks a clip of the Hadamard design, half as many as of the folded one."""
    slopes: int = 4_096
    """Rows of slopes a clip; they cost three to five times as much as masks."""
    folder: Path = Path("runs/masks_needed")
    seed: int = 0
    proposals: Literal["tokens", "slic"] = "tokens"
    """What concepts are found in: single tokens or tubelets. Tokens get them."""

    @property
    def own_folder(self) -> Path:
        """Where the concepts and pools of this question lie."""
        return self.folder / (self.model if self.proposals == "tokens" else f"{self.model}-{self.proposals}")


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
        "unmodified": nothing_removed(concepts),
        "folded-hadamard": Hadamard(keys[0], 2 * settings.hadamard),
        "hadamard": Hadamard(keys[1], settings.hadamard, folded=False),
        "random": Random(keys[2], settings.random, players="all"),
        "paired": Paired(keys[3], settings.reference + settings.window),
        "slopes": Slopes(keys[4], settings.slopes),
    }


def problem(settings: Common) -> tuple[Model, Clips, Concepts]:
    """The model, the ranked clips, and the concepts found on ``DISCOVERY`` clips."""
    model = vtcd.models.load(settings.model)
    p = model.preprocessing
    config = vtcd.world.WorldConfig(size=p.height, frames=p.num_frames)
    clips = seen_clips(model, vtcd.world.clips(DISCOVERY, seed=settings.seed, config=config, split="held-out"))
    folder = settings.own_folder
    try:
        concepts = load_concepts(folder)
    except vtcd.models.InputError:
        slic, key = vtcd.concepts.SlicConfig(proposals=settings.proposals), jax.random.key(settings.seed)
        concepts = vtcd.concepts.discover(model, clips, slic=slic, key=key)
        save_concepts(concepts, folder)
    return model, clips[: settings.clips], concepts


def measure(settings: Measure) -> None:
    model, clips, concepts = problem(settings)
    support = Support.of(concepts)[range(len(clips))]
    targets, smooth = find_targets(model, clips), SMOOTH[settings.model]
    for video in range(settings.part[0], len(clips), settings.part[1]):
        for pool, design in designs(settings, len(concepts)).items():
            one, sloped = support[[video]], isinstance(design, Slopes)
            names, kind = (smooth, "slopes") if sloped else (smooth + HARD.get(settings.model, ()), "scores")
            for first, path in pool_files(settings, pool, video, design.count(one.present()[0])):
                if path.exists():
                    continue
                todo = [task for task in tasks(design, one.present()) if first <= task.start < first + PART]
                asked = {"score": names, "targets": targets[[video]], "result": kind}
                blocks = score_blocks(model, clips[[video]], one, design, todo, **asked)
                shown = tqdm(blocks, f"clip {video}, {pool} {first}", total=len(todo), mininterval=30)
                found = [block.scores for block in shown]
                files.save_safetensors(path, {name: np.concatenate([b[name] for b in found]) for name in names}, {})


def pool_files(settings: Common, pool: str, video: int, masks: int) -> list[tuple[int, Path]]:
    """(first mask, file) of every part of a pool. A last part that is shorter has a name of its own, so that a larger
    pool does not take it for a whole one."""
    folder = settings.own_folder
    return [(a, folder / f"{pool}-{video}-{a}-{min(a + PART, masks)}.safetensors") for a in range(0, masks, PART)]


def read_pool(settings: Common, pool: str, video: int, masks: int) -> dict[str, np.ndarray]:
    """Scores name -> float64 [mask]."""
    from safetensors.numpy import load_file

    parts = [load_file(path) for _, path in pool_files(settings, pool, video, masks)]
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}


@dataclass(frozen=True)
class Pool:
    """A clip's passes under one design. kept: bool [mask, concept].  scores: name -> [mask]; of slopes the drawn gates,
    and name -> [mask, concept]."""

    clip: str
    design: Design
    kept: np.ndarray
    scores: dict[str, np.ndarray]
    present: np.ndarray


def pools_of(settings: Common, concepts: Concepts, clips: Clips) -> dict[str, list[Pool]]:
    """Design -> a pool per clip."""
    support = Support.of(concepts)[range(len(clips))]
    found: dict[str, list[Pool]] = {}
    for name, design in designs(settings, len(concepts)).items():
        found[name] = []
        for video, present in enumerate(support.present()):
            count = design.count(present)
            values = read_pool(settings, name, video, count)
            clip = clips.hashes[video]
            kept = (design.drawn if isinstance(design, Slopes) else design.rows)(clip, 0, count, present) > 0
            found[name].append(Pool(clip, design, kept, values, present))
    return found


def estimate(kind: str, pool: Pool, score: str, rows: slice, baseline: float) -> np.ndarray:
    """One clip's importance [concept] from some masks of its pool."""
    design, estimator = kind.split(": ")
    step = 2 if design == "bernoulli" else 1  # every other row of a pair is a row of fair coins
    y, kept = pool.scores[score][rows][::step], pool.kept[rows][::step].astype(np.float64)
    return from_rows(estimator, y, kept, baseline, paired=design in ("paired", "folded-hadamard")).value


def windows(kind: str, pools: list[Pool], budget: int) -> Iterator[tuple[float, list[slice]]]:
    """(passes a clip, the masks of each clip) of each disjoint window. Hadamard designs: whole blocks alone."""
    design = kind.split(": ")[0]
    units = [_unit(pool) for pool in pools]
    blocks = budget if design.endswith("hadamard") else 1
    sizes = [u * blocks for u in units] if design.endswith("hadamard") else [budget] * len(pools)
    step = 2 if design == "bernoulli" else 1
    count = min(len(p.kept) // (step * size) for p, size in zip(pools, sizes, strict=True))
    for w in range(count):
        yield float(np.mean(sizes)), [slice(w * step * size, (w + 1) * step * size) for size in sizes]


def _unit(pool: Pool) -> int:
    return pool.design.block_rows(pool.present) if isinstance(pool.design, Hadamard) else 1


class Reference:
    """Least squares on a clip's pairs, with or without some of them: the Gram matrix is kept, and parts subtracted."""

    def __init__(self, pool: Pool, score: str) -> None:
        self.players = pool.present
        self.signs = (2.0 * pool.kept[0::2] - 1)[:, self.players]
        self.halves = (pool.scores[score][0::2] - pool.scores[score][1::2]) / 2
        self.gram, self.moment = self.signs.T @ self.signs, self.signs.T @ self.halves

    def value(self, without: slice, masks: int) -> np.ndarray:
        """[concept], from the first ``masks`` masks that are not in ``without``."""
        rows = np.ones(len(self.halves), bool)
        rows[without.start // 2 : without.stop // 2] = False
        left_out = np.ones(len(rows), bool)
        left_out[np.flatnonzero(rows)[: masks // 2]] = False
        signs, halves = self.signs[left_out], self.halves[left_out]
        found = np.zeros(len(self.players))
        gram, moment = self.gram - signs.T @ signs, self.moment - signs.T @ halves
        found[self.players] = 2 * np.linalg.solve(gram, moment)
        return found


def compare(found: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Rank correlation over all concepts, and the share of the reference's top ten that is found."""
    top = set(np.argsort(-found)[:10]) & set(np.argsort(-reference)[:10])
    return {
        "Spearman": float(rank_correlation(found, reference)),
        "top 10": len(top) / 10,
    }


@dataclass(frozen=True)
class Point:
    """What a number of masks gives: means over windows. passes: per clip.  windows: how many."""

    passes: float
    windows: int
    values: dict[str, float]


@dataclass(frozen=True)
class Question:
    """What is asked of every design: one score of the ranked clips, with its references and unmodified values."""

    score: str
    references: list[Reference]
    baseline: np.ndarray
    masks: int
    longest: int

    def truth(self, slices: list[slice]) -> np.ndarray:
        """[concept]: mean of the clips' references without some of their pairs."""
        return np.mean([r.value(s, self.masks) for r, s in zip(self.references, slices, strict=True)], 0)


def curve(kind: str, pools: list[Pool], asked: Question) -> list[Point]:
    """A point per number of masks, as long as a window fits into the pool."""
    played, whole = np.any([p.present for p in pools], axis=0), [slice(0, 0)] * len(pools)
    fixed = asked.truth(whole)
    points, budget = [], 1 if kind.split(": ")[0].endswith("hadamard") else 128
    longest = asked.longest if kind.startswith(("paired", "bernoulli")) else len(pools[0].kept)
    while (found := list(windows(kind, pools, budget))) and budget <= longest:
        rows = []
        for passes, slices in found[:16]:
            parts = zip(pools, slices, asked.baseline, strict=True)
            try:
                own = [estimate(kind, pool, asked.score, rows_, y0) for pool, rows_, y0 in parts]
            except vtcd.models.InputError:  # least squares with too few masks
                break
            truth = asked.truth(slices) if kind.startswith(("paired", "bernoulli")) else fixed
            rows.append((passes, compare(np.mean(own, 0)[played], truth[played])))
        if rows:
            values = {bar: float(np.mean([row[1][bar] for row in rows])) for bar in BARS}
            points.append(Point(rows[0][0], len(rows), values))
        budget *= 2
    return points


def slope_curve(kind: str, pools: dict[str, list[Pool]], asked: Question) -> list[Point]:
    """The same for slopes, alone or joined with as much of folded blocks."""
    gates, masks, price = pools["slopes"], pools["folded-hadamard"], slope_price(1)
    played, truth = np.any([p.present for p in gates], axis=0), asked.truth([slice(0, 0)] * len(gates))
    joined, points, budget = kind.startswith("joined"), [], 1 if kind.startswith("joined") else 2 * DRAW
    while True:
        sizes = [_unit(pool) * budget for pool in masks] if joined else [0] * len(masks)
        rows = [size // price // DRAW * DRAW if joined else budget for size in sizes]
        parts = list(zip(gates, masks, rows, sizes, strict=True))
        count = min(min(len(g.kept) // r, len(m.kept) // max(s, 1)) for g, m, r, s in parts)
        if not count:
            return points
        values = []
        for w in range(min(count, 16)):
            found = slope_importance(asked.score, parts, w)
            values.append(compare(found.importance[played], truth[played]))
        passes = float(np.mean(np.array(sizes) + price * np.array(rows)))
        points.append(Point(passes, len(values), {bar: float(np.mean([v[bar] for v in values])) for bar in BARS}))
        budget *= 2


def slope_importance(score: str, parts: Sequence[tuple[Pool, Pool, int, int]], window: int) -> Importance:
    """Importance from some slopes of every clip, joined with some masks if there are any.

    parts: of every clip (pool of slopes, pool of masks, rows of slopes, masks).  window: which of the disjoint ones.
    """
    gates, masks = parts[0][0].design, parts[0][1].design
    assert isinstance(gates, Slopes)
    slopes = [window * rows + np.arange(rows) for _, _, rows, _ in parts]
    hashes, present = [g.clip for g, *_ in parts], np.array([g.present for g, *_ in parts])
    nothing = np.zeros(len(parts))
    if any(size for *_, size in parts):
        assert isinstance(masks, Hadamard)
        design, estimator = Joined(masks, gates), "joined"
        values = [(m.scores[score], g.scores[score]) for g, m, _, _ in parts]
        chosen = [(window * size + np.arange(size), own) for (*_, size), own in zip(parts, slopes, strict=True)]
    else:
        design, estimator, chosen = gates, "slope", slopes
        values = [g.scores[score] for g, *_ in parts]
    estimates, shared = estimate_clips(estimator, design, values, nothing, hashes, present, chosen)
    return combine(score, estimator, "", estimates, [0] * len(parts), present, nothing, hashes, shared)


def print_bias(pools: dict[str, list[Pool]], asked: Question) -> None:
    """How far all slopes together are from the reference, beyond what the noise of both explains."""
    gates, clips = pools["slopes"], len(pools["slopes"])
    played, truth = np.any([p.present for p in gates], axis=0), asked.truth([slice(0, 0)] * clips)
    found = slope_importance(asked.score, [(pool, pool, len(pool.kept), 0) for pool in gates], 0)
    value, variance = found.importance, found.se_masks**2
    halves = []
    for first in (0, 1):
        cuts = [(r, len(r.halves) // 2 * 2) for r in asked.references]
        halves.append(np.mean([r.value(slice(first * n, first * n + n), n) for r, n in cuts], 0))
    noise = (variance + (halves[0] - halves[1]) ** 2 / 4)[played].mean()
    apart = ((value - truth)[played] ** 2).mean()
    agree, spread = compare(value[played], truth[played]), truth[played].std()
    bias = np.sqrt(max(apart - noise, 0)) / spread
    print(
        f"all {len(gates[0].kept)} slopes a clip: Spearman {agree['Spearman']:.4f}, {10 * agree['top 10']:.0f} of ten; "
        f"differ from the reference by {np.sqrt(apart) / spread:.3f} of the spread over concepts; noise explains "
        f"{np.sqrt(noise) / spread:.3f}; bias {bias:.3f}"
    )


def print_coverage(pools: dict[str, list[Pool]], asked: Question) -> None:
    """How often 95 % intervals for these clips hold the reference, whose own noise is added. Those of slopes alone omit
    the bias."""
    present = np.array([pool.present for pool in pools["paired"]])
    played, nothing, clips = present.any(0), np.zeros(len(present)), len(present)
    read = [(p.design, p.scores[asked.score], 0.0, p.clip, p.present) for p in pools["paired"]]
    values = [library_estimate("regression", *one) for one in read]
    truth = combine("", "", "", values, [0] * clips, present, nothing)
    for blocks, rows in ((0, 64), (0, 192), (0, 768), (1, 60), (2, 120), (4, 240)):
        pairs = zip(pools["slopes"], pools["folded-hadamard"], strict=True)
        parts = [(g, m, rows, _unit(m) * blocks) for g, m in pairs]
        count, held = min(min(len(g.kept) // rows, len(m.kept) // max(size, 1)) for g, m, _, size in parts), []
        for w in range(min(count, 16)):
            found = slope_importance(asked.score, parts, w)
            error = np.hypot(found.se_masks, truth.se_masks)[played]
            wide = half_width(error, found.dof_masks[played], 0.95)
            held.append((np.abs(found.importance - truth.importance)[played] <= wide).mean())
        if held:
            print(f"intervals of {rows} slopes and {blocks} blocks hold the reference: {100 * np.mean(held):.1f} %")


def measure_price(settings: Common) -> tuple[float, float]:
    """Seconds of a masked pass and of a row of slopes of one score, with all cores busy; alternated, the medians."""
    model, clips, concepts = problem(settings)
    one, score = Support.of(concepts)[[0]], SMOOTH[settings.model][0]
    targets, spent = find_targets(model, clips[[0]]), {scores: [], slopes: []}
    for _ in range(6):
        for function, times in spent.items():
            begun = time.perf_counter()
            function(model, clips[[0]], one, Paired(settings.seed, 128), score=score, targets=targets)
            times.append((time.perf_counter() - begun) / 128)
    mask, slope = (float(np.median(times[1:])) for times in spent.values())
    print(f"{settings.model}: a masked pass {mask * 1e3:.2f} ms, slopes of one score {slope / mask:.2f} times that")
    return mask, slope


def seconds(kind: str, passes: float, price: tuple[float, float]) -> float:
    """Seconds a clip of so many passes; those of slopes count as several, and are half of the joined ones."""
    share = {"slopes: slope": 1.0, "joined: joined": 0.5}.get(kind, 0.0)
    return passes * ((1 - share) * price[0] + share * price[1] / slope_price(1))


def needed(points: list[Point], bar: str) -> float:
    """Passes per clip from which on the bar is held, between points on a logarithmic line; inf where it never is."""
    held = [p.values[bar] >= BARS[bar] for p in points]
    if not held or not held[-1]:
        return float("inf")
    first = len(held) - 1
    while first and held[first - 1]:
        first -= 1
    if not first:
        return points[0].passes
    low, high = points[first - 1], points[first]
    share = (BARS[bar] - low.values[bar]) / (high.values[bar] - low.values[bar])
    return float(np.exp(np.log(low.passes) + share * np.log(high.passes / low.passes)))


KINDS = (
    "random: released", "random: paper", "bernoulli: contrast", "bernoulli: regression",
    "paired: contrast", "paired: regression", "hadamard: contrast", "folded-hadamard: contrast",
)  # fmt: skip
SLOPES = ("slopes: slope", "joined: joined")


def report(settings: Report) -> None:
    _, clips, concepts = problem(settings)
    pools, rows = pools_of(settings, concepts, clips), []
    price = measure_price(settings)
    for score in (*SMOOTH[settings.model], *HARD.get(settings.model, ())):
        references = [Reference(pool, score) for pool in pools["paired"]]
        baseline = np.array([pool.scores[score][0] for pool in pools["unmodified"]])
        asked = Question(score, references, baseline, settings.reference, settings.window // 2)
        print_reference(settings, asked, pools["paired"])
        sources = {kind: "paired" if kind.startswith("bernoulli") else kind.split(": ")[0] for kind in KINDS}
        found = {kind: curve(kind, pools[source], asked) for kind, source in sources.items()}
        smooth = SLOPES if score in SMOOTH[settings.model] else ()
        found |= {kind: slope_curve(kind, pools, asked) for kind in smooth}
        rows += [
            {"score": score, "kind": kind, "passes": p.passes, "windows": p.windows, **p.values}
            for kind, points in found.items()
            for p in points
        ]
        print(f"{'':28}" + "".join(f"{f'passes, {bar}':>18}{'s':>7}{'released':>10}{'paper':>7}" for bar in BARS))
        for kind in KINDS + smooth:
            print(f"{kind:28}" + "".join(_cells(found, kind, bar, price) for bar in BARS))
        if smooth:
            print_bias(pools, asked)
            print_coverage(pools, asked)
    files.write_text(settings.own_folder / "curves.json", json.dumps(rows, indent=1))


def print_reference(settings: Common, asked: Question, pools: list[Pool]) -> None:
    """How well two halves of the reference agree."""
    played = np.any([p.present for p in pools], axis=0)
    halves = []
    for first in (0, 1):
        cuts = [(r, len(r.halves) // 2 * 2) for r in asked.references]  # half of the masks of each clip
        halves.append(np.mean([r.value(slice(first * n, first * n + n), n) for r, n in cuts], 0)[played])
    agree = compare(*halves)
    print(
        f"\n{settings.model}, {asked.score}: {int(played.sum())} concepts, {len(pools)} clips; two halves of the "
        f"reference agree with Spearman {agree['Spearman']:.4f} and {10 * agree['top 10']:.0f} of ten"
    )


def _cells(found: dict[str, list[Point]], kind: str, bar: str, price: tuple[float, float]) -> str:
    """Passes needed, their seconds, and how many times fewer than the released way and the paper's; ">": the pool was
    too small."""
    own, released, paper = (needed(found[k], bar) for k in (kind, "random: released", "random: paper"))
    cells = [f"{own:.0f}" if np.isfinite(own) else f">{found[kind][-1].passes:.0f}" if found[kind] else "-"]
    for other, name in ((released, "random: released"), (paper, "random: paper")):
        if not np.isfinite(own):
            cells.append("")
        elif np.isfinite(other):
            cells.append(f"{other / own:.1f}")
        else:
            cells.append(f">{found[name][-1].passes / own:.1f}")
    time_needed = f"{seconds(kind, own, price):.1f}" if np.isfinite(own) else ""
    return f"{cells[0]:>18}{time_needed:>7}{cells[1]:>10}{cells[2]:>7}"


def main(settings: Measure | Report) -> None:
    measure(settings) if isinstance(settings, Measure) else report(settings)


if __name__ == "__main__":
    main(tyro.cli(Measure | Report, description=__doc__))
