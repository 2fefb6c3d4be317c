"""The paper's figure 4 on a small shipped model: what is left of the score while concepts are removed.

    python scripts/figure4.py --model world-videomae      # curves.csv, areas.csv, figure4.png in runs/figure4

CRIS is by masks alone, as in the paper. What is drawn: ``removal.py``. Kowal et al. (2024), VTCD, figure 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from removal import MASKS, ORDERS, RANDOM, Drawn, Removal, Way, areas, draw, groups_of, half_width, points
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax.runs.tables import write_csv

STYLES = {  # (way, method) -> name and colour
    ("concepts", MASKS): ("CRIS", "#c1121f"),
    ("concepts", "occlusion"): ("occlusion", "#1d6fb8"),
    ("concepts", "integrated gradients"): ("integrated gradients", "#2a9d58"),
    ("concepts", RANDOM): ("random order", "#777777"),
    ("random centres", MASKS): ("random centres, CRIS", "#b5838d"),
}
WAYS = {
    "concepts": Way((MASKS, "occlusion", "integrated gradients", RANDOM)),
    "random centres": Way((MASKS,), centres=True),
}


@dataclass(frozen=True)
class Settings(Removal):
    """What the figure depends on."""

    model: str = "world-videomae"
    out: Path = Path("runs/figure4")
    classes: int = 4
    """Classes of the synthetic world, for classifiers; others use clips of all of them at once."""


def area_table(drawn: list[Drawn]) -> list[dict[str, object]]:
    """A row per score, method and order: mean area, with its interval over seeds."""
    rows = []
    for score in drawn[0].scores:
        for at, (name, _) in STYLES.items():
            for order in ORDERS:
                values = areas([d for d in drawn if ((d.way, d.method), d.order) == (at, order)], score)
                row = (score, name, order, float(values.mean()), half_width(values), len(values))
                rows.append(dict(zip(("score", "method", "order", "area", "half_width", "seeds"), row, strict=True)))
    return rows


def plot(drawn: list[Drawn], path: Path, title: str) -> None:
    """A panel per score and order."""
    import matplotlib.pyplot as plt

    names = list(drawn[0].scores)
    figure, axes = plt.subplots(len(names), 2, figsize=(9, 3.4 * len(names)), squeeze=False, sharex=True, sharey="row")
    for row, score in zip(axes, names, strict=True):
        for ax, order in zip(row, ORDERS, strict=True):
            for at, (name, colour) in STYLES.items():
                curves = [d for d in drawn if ((d.way, d.method), d.order) == (at, order)]
                seeds = sorted({d.seed for d in curves})
                lines = np.array([np.mean([d.scores[score] for d in curves if d.seed == s], 0) for s in seeds])
                mean, half = lines.mean(0), np.array([half_width(v) for v in lines.T])
                x = np.linspace(0, 1, len(mean))
                ax.plot(x, mean, color=colour, label=name, linewidth=1.8)
                ax.fill_between(x, mean - half, mean + half, color=colour, alpha=0.13, linewidth=0)
            what = "most important first" if order == "positive" else "least important first"
            ax.set_title(f"{order} perturbation: {what}", fontsize=10)
            ax.grid(alpha=0.25)
        row[0].set_ylabel(score.replace("_", " "))
    for ax in axes[-1]:
        ax.set_xlabel("fraction of concepts removed")
    axes[0, 1].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(settings: Settings) -> None:
    model = vtcd.models.load(settings.model)
    groups = groups_of(model, settings.classes)
    todo = [(group, seed, way) for seed in range(settings.seeds) for group in groups for way in WAYS]
    drawn = [c for g, s, way in tqdm(todo, settings.model) for c in draw(settings, model, g, s, way, WAYS[way])]
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = points(drawn)
    write_csv(settings.out / "curves.csv", rows, tuple(rows[0]))
    table = area_table(drawn)
    write_csv(settings.out / "areas.csv", table, tuple(table[0]))
    about = f"{settings.model}: {len(groups)} sets of clips x {settings.seeds} seeds, {settings.held_out} clips a curve"
    plot(drawn, settings.out / "figure4.png", about)
    for row in table:
        print("{score:16} {method:24} {order:9} {area:8.3f} ± {half_width:.3f}".format(**row))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
