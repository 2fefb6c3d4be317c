"""The paper's figure 4 on a small shipped model: what is left of the score while concepts are removed.

    python scripts/figure4.py --model world-videomae      # curves.csv, areas.csv, figure4.png in runs/figure4

For every class and seed, concepts are found and ranked on some clips, and curves drawn on others. Rankings: CRIS,
occlusion (one concept at a time), integrated gradients, a random order; and CRIS on groups of tubelets drawn at random.
Positive perturbation removes the most important concepts first (a small area is good), negative the least important
first (a large one is). Areas are means over classes, with Student's 95 % interval over seeds, each with its own clips.

Kowal et al. (2024), VTCD, figure 4 and table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from scipy import stats
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax.concepts import Concepts
from vtcd_jax.concepts.controls import random_concepts
from vtcd_jax.data import Clips, world
from vtcd_jax.importance import Explicit, Importance, Support, find_targets, integrated_gradients, occlusion, scores
from vtcd_jax.importance.curves import removal_counts
from vtcd_jax.importance.designs import removal_order
from vtcd_jax.importance.score import default_scores
from vtcd_jax.models import Model
from vtcd_jax.tables import write_csv

HARD = {"log_probability": "accuracy", "soft_iou": "iou", "logit": "accuracy", "reconstruction": "reconstruction"}
ORDERS = ("positive", "negative")
STYLES = {
    "CRIS": "#c1121f", "occlusion": "#1d6fb8", "integrated gradients": "#2a9d58", "random order": "#777777",
    "CRIS, random tubelets": "#b5838d",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the figure depends on."""

    model: str = "world-videomae"
    out: Path = Path("runs/figure4")
    classes: int = 4
    """Classes of the synthetic world, for classifiers; others use clips of all of them at once."""
    clips: int = 8
    """Clips of a class that concepts are found and ranked on."""
    held_out: int = 8
    """Clips of a class that curves are drawn on."""
    seeds: int = 3
    masks: int = 512
    """Masked passes per clip for CRIS, at most."""
    path: int = 16
    """Steps of integrated gradients."""
    steps: int = 10
    """Removals of a curve between nothing and everything."""
    orders: int = 3
    """Random orders."""


@dataclass(frozen=True)
class Drawn:
    """method, order, class and seed of a curve.  scores: name -> [step], mean over clips."""

    method: str
    order: str
    group: int
    seed: int
    scores: dict[str, np.ndarray]


def group_clips(settings: Settings, model: Model, group: int, seed: int) -> tuple[Clips, Clips]:
    """(to rank on, to draw on): clips of a class, or of all."""
    p = model.preprocessing
    config = world.WorldConfig(size=p.height, frames=p.num_frames)
    labels = [group] if group >= 0 else None
    count = settings.clips + settings.held_out
    clips = world.clips(count, seed=1000 * seed + group + 1, config=config, split="held-out", labels=labels)
    return clips[: settings.clips], clips[settings.clips :]


def rankings(settings: Settings, model: Model, clips: Clips, concepts: Concepts, seed: int) -> dict[str, Importance]:
    """Method -> importance on the ranked clips, all for the same smooth score."""
    score, key = smooth(model), jax.random.fold_in(jax.random.key(seed), 4)
    return {
        "CRIS": vtcd.importance.cris(model, clips, concepts, score=score, masks=settings.masks, key=key),
        "occlusion": occlusion(model, clips, concepts, score=score),
        "integrated gradients": integrated_gradients(model, clips, concepts, score=score, steps=settings.path),
    }


def smooth(model: Model) -> str:
    return next(name for name in default_scores(model) if name not in ("accuracy", "iou"))


def draw(settings: Settings, model: Model, group: int, seed: int) -> list[Drawn]:
    """All curves of a class and seed."""
    ranked, held = group_clips(settings, model, group, seed)
    key = jax.random.fold_in(jax.random.key(seed), group + 1)
    concepts = vtcd.concepts.discover(model, ranked, key=key)
    here = vtcd.concepts.assign(model, held, concepts)
    orders = {name: found.order() for name, found in rankings(settings, model, ranked, concepts, seed).items()}
    rng = np.random.default_rng([seed, group + 1])
    for i in range(settings.orders):
        orders[f"random order {i}"] = rng.permutation(len(concepts))
    drawn = curves(settings, model, held, here, orders, group, seed)
    dealt, dealt_here = (random_concepts(c, k) for c, k in zip((concepts, here), jax.random.split(key), strict=True))
    control = vtcd.importance.cris(model, ranked, dealt, score=smooth(model), masks=settings.masks, key=key)
    return drawn + curves(settings, model, held, dealt_here, {"CRIS, random tubelets": control.order()}, group, seed)


def curves(
    settings: Settings,
    model: Model,
    clips: Clips,
    concepts: Concepts,
    orders: dict[str, np.ndarray],
    group: int,
    seed: int,
) -> list[Drawn]:
    """Curves of several orders from one call of the engine; random orders are averaged, and are their own reverse."""
    names = (smooth(model), HARD[smooth(model)])
    counts = removal_counts(len(concepts), settings.steps)
    made = [(name, way) for name in orders for way in ORDERS]
    rows = [removal_order(orders[n] if w == "positive" else orders[n][::-1], counts).gates for n, w in made]
    support = Support(concepts.ids, len(concepts))
    design, targets = Explicit(np.concatenate(rows)), find_targets(model, clips)
    found = scores(model, clips, support, design, score=tuple(dict.fromkeys(names)), targets=targets)
    steps = settings.steps + 1
    grid = np.linspace(0, 1, steps)
    drawn: dict[tuple[str, str], list[dict[str, np.ndarray]]] = {}
    for i, (name, way) in enumerate(made):
        label = "random order" if name.startswith("random order") else name
        part = slice(i * len(counts), (i + 1) * len(counts))
        values = {s: np.interp(grid, counts / counts[-1], v[:, part].mean(0)) for s, v in found.items()}
        drawn.setdefault((label, way), []).append(values)
    return [
        Drawn(label, way, group, seed, {s: np.mean([v[s] for v in several], 0) for s in several[0]})
        for (label, way), several in drawn.items()
    ]


def area_table(drawn: list[Drawn]) -> list[dict[str, object]]:
    """A row per score, method and order: mean area over classes, with its interval over seeds."""
    rows = []
    for score in drawn[0].scores:
        for method in STYLES:
            for way in ORDERS:
                own = [d for d in drawn if (d.method, d.order) == (method, way)]
                by_seed = [
                    np.mean(
                        [np.trapezoid(d.scores[score], dx=1 / (len(d.scores[score]) - 1)) for d in own if d.seed == s]
                    )
                    for s in sorted({d.seed for d in own})
                ]
                half = half_width(np.array(by_seed))
                row = (score, method, way, float(np.mean(by_seed)), half, len(by_seed))
                rows.append(dict(zip(("score", "method", "order", "area", "half_width", "seeds"), row, strict=True)))
    return rows


def area(curve: np.ndarray) -> float:
    """Under a curve over [0, 1]."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


def half_width(values: np.ndarray) -> float:
    """Of Student's 95 % interval of the mean; NaN for one value."""
    n = len(values)
    return float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def plot(drawn: list[Drawn], path: Path, title: str) -> None:
    """A panel per score and order."""
    import matplotlib.pyplot as plt

    names = list(drawn[0].scores)
    figure, axes = plt.subplots(len(names), 2, figsize=(9, 3.4 * len(names)), squeeze=False, sharex=True, sharey="row")
    for row, score in zip(axes, names, strict=True):
        for ax, way in zip(row, ORDERS, strict=True):
            for method, colour in STYLES.items():
                own = [d for d in drawn if (d.method, d.order) == (method, way)]
                seeds = sorted({d.seed for d in own})
                lines = np.array([np.mean([d.scores[score] for d in own if d.seed == s], 0) for s in seeds])
                mean, half = lines.mean(0), np.array([half_width(v) for v in lines.T])
                x = np.linspace(0, 1, len(mean))
                ax.plot(x, mean, color=colour, label=method, linewidth=1.8)
                ax.fill_between(x, mean - half, mean + half, color=colour, alpha=0.13, linewidth=0)
            what = "most important first" if way == "positive" else "least important first"
            ax.set_title(f"{way} perturbation: {what}", fontsize=10)
            ax.grid(alpha=0.25)
        row[0].set_ylabel(score.replace("_", " "))
    for ax in axes[-1]:
        ax.set_xlabel("share of concepts removed")
    axes[0, 1].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(settings: Settings) -> None:
    model = vtcd.models.load(settings.model)
    groups = range(settings.classes) if default_scores(model)[0] in ("log_probability", "logit") else [-1]
    todo = [(group, seed) for seed in range(settings.seeds) for group in groups]
    drawn = [curve for group, seed in tqdm(todo, settings.model) for curve in draw(settings, model, group, seed)]
    settings.out.mkdir(parents=True, exist_ok=True)
    points = [
        {
            "score": s,
            "method": d.method,
            "order": d.order,
            "class": d.group,
            "seed": d.seed,
            "step": i,
            "value": float(v),
        }
        for d in drawn
        for s, values in d.scores.items()
        for i, v in enumerate(values)
    ]
    write_csv(settings.out / "curves.csv", points, tuple(points[0]))
    areas = area_table(drawn)
    write_csv(settings.out / "areas.csv", areas, tuple(areas[0]))
    about = f"{settings.model}: {len(groups)} sets of clips x {settings.seeds} seeds, {settings.held_out} clips a curve"
    plot(drawn, settings.out / "figure4.png", about)
    for row in areas:
        print("{score:16} {method:24} {order:9} {area:8.3f} ± {half_width:.3f}".format(**row))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
