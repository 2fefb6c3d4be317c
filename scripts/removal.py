"""Removing concepts in the order of their importance: what ``figure4.py`` and ``table1.py`` measure.

Of every set of clips and seed, concepts are found and ranked on some clips, and curves drawn on others. A *way* says
how they are found and by which methods they are ranked. Positive perturbation removes the most important concepts first
(a small area is good), negative the least important first (a large one is). Areas are means over sets of clips, with
Student's 95 % interval over seeds, each with its own clips.

Kowal et al. (2024), VTCD, §4.3, figure 4 and table 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
from scipy import stats

import vtcd_jax as vtcd
from vtcd_jax import world
from vtcd_jax.ablation.design import removal_order
from vtcd_jax.concepts import Concepts, NmfConfig, SlicConfig, nearest_centres, random_centres
from vtcd_jax.data import Clips
from vtcd_jax.data.inputs import seen_clips
from vtcd_jax.importance import Explicit, Importance, Support, find_targets, integrated_gradients, occlusion, scores
from vtcd_jax.importance.curves import leaves_of, removal_counts
from vtcd_jax.models import Model
from vtcd_jax.scores.functions import default_scores

HARD = {"log_probability": "accuracy", "soft_iou": "iou", "logit": "accuracy", "reconstruction": "reconstruction"}
ORDERS = ("positive", "negative")
RANDOM = "random order"
MASKS = "CRIS, masks alone"


@dataclass(frozen=True)
class Removal:
    """How curves are drawn."""

    clips: int = 8
    """Clips of a set that concepts are found and ranked on."""
    held_out: int = 8
    """Clips of a set that curves are drawn on."""
    seeds: int = 3
    masks: int = 512
    """Masked passes per clip for CRIS, at most."""
    preset_masks: int = 4000
    """The same for the estimators "paper" and "released", by default as in the paper."""
    path: int = 16
    """Steps of integrated gradients."""
    steps: int = 10
    """Removals of a curve between nothing and everything."""
    orders: int = 3
    """Random orders."""


@dataclass(frozen=True)
class Way:
    """How concepts are found, and the methods that rank them: those of ``ranking``, and "random order".

    centres: random tubelets as centres in the place of the concepts, as many and of the same heads.
    """

    methods: tuple[str, ...]
    nmf: NmfConfig = NmfConfig(refits=0)
    slic: SlicConfig = SlicConfig()
    centres: bool = False


@dataclass(frozen=True)
class Drawn:
    """way, method, order, set of clips and seed of a curve.  scores: name -> [step], mean over clips."""

    way: str
    method: str
    order: str
    group: int
    seed: int
    scores: dict[str, np.ndarray]


def groups_of(model: Model, classes: int) -> list[int]:
    """The sets of clips: ``classes`` classes of the synthetic world for classifiers, -1 (clips of all) for others."""
    return list(range(classes)) if default_scores(model)[0] in ("log_probability", "logit") else [-1]


def group_clips(how: Removal, model: Model, group: int, seed: int) -> tuple[Clips, Clips]:
    """(to rank on, to draw on): clips of a class, or of all."""
    p = model.preprocessing
    config = world.WorldConfig(size=p.height, frames=p.num_frames)
    labels = [group] if group >= 0 else None
    count = how.clips + how.held_out
    drawn = world.clips(count, seed=1000 * seed + group + 1, config=config, split="held-out", labels=labels)
    clips = seen_clips(model, drawn)
    return clips[: how.clips], clips[how.clips :]


def ranking(how: Removal, model: Model, clips: Clips, concepts: Concepts, method: str, seed: int) -> Importance:
    """The importance on the ranked clips by a method; all of them for the same smooth score."""
    score, key = smooth(model), jax.random.fold_in(jax.random.key(seed), 4)
    if method == "CRIS":
        return vtcd.importance.cris(model, clips, concepts, score=score, masks=how.masks, key=key)
    if method == MASKS:
        design = "folded-hadamard"
        return vtcd.importance.cris(model, clips, concepts, score=score, masks=how.masks, key=key, design=design)
    if method in ("released", "paper"):
        masks = how.preset_masks
        return vtcd.importance.cris(model, clips, concepts, score=score, masks=masks, key=key, estimator=method)
    if method == "occlusion":
        return occlusion(model, clips, concepts, score=score)
    if method == "integrated gradients":
        return integrated_gradients(model, clips, concepts, score=score, steps=how.path)
    raise ValueError(f"no ranking {method!r}")


def smooth(model: Model) -> str:
    """The score that concepts are ranked by."""
    return next(name for name in default_scores(model) if name not in ("accuracy", "iou"))


def draw(how: Removal, model: Model, group: int, seed: int, name: str, way: Way) -> Iterator[Drawn]:
    """All curves of a set of clips, a seed and a way."""
    ranked, held = group_clips(how, model, group, seed)
    key = jax.random.fold_in(jax.random.key(seed), group + 1)
    concepts, here = find(model, ranked, held, way, key)
    orders = {
        method: ranking(how, model, ranked, concepts, method, seed).order()
        for method in way.methods
        if method != RANDOM
    }
    rng = np.random.default_rng([seed, group + 1])
    for i in range(how.orders if RANDOM in way.methods else 0):
        orders[f"{RANDOM} {i}"] = rng.permutation(len(concepts))
    for (method, order), found in curves(how, model, held, here, orders).items():
        yield Drawn(name, method, order, group, seed, found)


def find(model: Model, clips: Clips, held: Clips, way: Way, key: jax.Array) -> tuple[Concepts, Concepts]:
    """The concepts of ``clips``, and the same on ``held``."""
    concepts = vtcd.concepts.discover(model, clips, slic=way.slic, nmf=way.nmf, key=key)
    here = vtcd.concepts.assign(model, held, concepts)
    if not way.centres:
        return concepts, here
    centres = [random_centres(concepts, jax.random.fold_in(key, 1))]
    return nearest_centres(model, clips, concepts, centres)[0], nearest_centres(model, held, here, centres)[0]


Curve = dict[str, np.ndarray]
"""Score -> [step]."""


def curves(
    how: Removal, model: Model, clips: Clips, concepts: Concepts, orders: dict[str, np.ndarray]
) -> dict[tuple[str, str], Curve]:
    """(method, "positive" or "negative") -> curve, from one call of the engine; random orders are averaged. Of a
    hierarchy leaves are removed."""
    names = (smooth(model), HARD[smooth(model)])
    counts = removal_counts(concepts.leaves, how.steps)
    made = [(name, way) for name in orders for way in ORDERS]
    members, total = concepts.members, len(concepts)
    ranks = (orders[n] if w == "positive" else orders[n][::-1] for n, w in made)
    rows = [removal_order(leaves_of(rank, members), counts, total).gates for rank in ranks]
    support = Support.of(concepts)
    design, targets = Explicit(np.concatenate(rows)), find_targets(model, clips)
    found = scores(model, clips, support, design, score=tuple(dict.fromkeys(names)), targets=targets)
    grid = np.linspace(0, 1, how.steps + 1)
    drawn: dict[tuple[str, str], list[Curve]] = {}
    for i, (name, way) in enumerate(made):
        label = RANDOM if name.startswith(RANDOM) else name
        part = slice(i * len(counts), (i + 1) * len(counts))
        values = {s: np.interp(grid, counts / counts[-1], v[:, part].mean(0)) for s, v in found.items()}
        drawn.setdefault((label, way), []).append(values)
    return {at: {s: np.mean([v[s] for v in several], 0) for s in several[0]} for at, several in drawn.items()}


def area(curve: np.ndarray) -> float:
    """Under a curve over [0, 1]."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def areas(drawn: list[Drawn], score: str) -> np.ndarray:
    """float64 [seed]: area of the curves of one method and order, mean over sets of clips."""
    seeds = sorted({d.seed for d in drawn})
    return np.array([np.mean([area(d.scores[score]) for d in drawn if d.seed == seed]) for seed in seeds])


def half_width(values: np.ndarray) -> float:
    """Of Student's 95 % interval of the mean; NaN for one value."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def points(drawn: list[Drawn]) -> list[dict[str, object]]:
    """A row per point of a curve, for a table."""
    return [
        {"score": s, "way": d.way, "method": d.method, "order": d.order, "set": d.group, "seed": d.seed,
         "step": i, "value": float(v)}
        for d in drawn for s, values in d.scores.items() for i, v in enumerate(values)
    ]  # fmt: skip
