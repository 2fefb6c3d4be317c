"""The paper's table 1 on small shipped models: what proposals and importance are worth, by the areas of removal curves.

    python scripts/table1.py                              # table1.csv, curves.csv and table1.md in runs/table1

Rows: concepts made of tubelets (SLIC) or of random crops, ranked by CRIS, occlusion, integrated gradients, or not at
all. Columns: every model's positive area (most important first, small is good) and negative area (least important
first, large is good), ± Student's 95 % over seeds. ``ahead`` compares seed by seed (equal clips): does the interval of
the difference to tubelets with CRIS leave zero out? How curves are drawn: ``removal.py``.

Kowal et al. (2024), VTCD, table 1; what differs: ``docs/reproduction.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from removal import HARD, ORDERS, Drawn, Removal, areas, draw, groups_of, half_width, points, smooth
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax.concepts.settings import Proposals
from vtcd_jax.runs.tables import write_csv

PROPOSALS: dict[Proposals, str] = {"slic": "tubelets", "crops": "random crops"}
METHODS = ("CRIS", "occlusion", "integrated gradients", "random order")
BEST: tuple[Proposals, str] = ("slic", "CRIS")


@dataclass(frozen=True)
class Settings(Removal):
    """What the table depends on."""

    models: tuple[str, ...] = ("world-videomae", "world-tcow")
    seeds: int = 5
    out: Path = Path("runs/table1")
    classes: int = 4
    """Classes of the synthetic world, for classifiers; others use clips of all of them at once."""


def rows_of(model: str, drawn: list[Drawn], scores: tuple[str, str]) -> list[dict[str, object]]:
    """A row per score, proposals, method and order."""
    rows = []
    for score in scores:
        for way in ORDERS:
            own = [d for d in drawn if d.order == way]
            found: dict[tuple[Proposals, str], np.ndarray] = {
                (kind, method): areas([d for d in own if (d.proposals, d.method) == (kind, method)], score)
                for kind in PROPOSALS
                for method in METHODS
            }
            for (kind, method), values in found.items():
                gain = (values - found[BEST]) * (1 if way == "positive" else -1)  # above 0: worse than the best
                rows.append({
                    "model": model, "score": score, "order": way, "proposals": PROPOSALS[kind], "method": method,
                    "area": float(values.mean()), "half_width": half_width(values), "seeds": len(values),
                    "behind": float(gain.mean()), "behind_half_width": half_width(gain),
                })  # fmt: skip
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Markdown: a row per proposals and method, two columns per model and score."""
    columns = list(dict.fromkeys((r["model"], r["score"], r["order"]) for r in rows))
    heads = [f"{m}, {str(s).replace('_', ' ')}, {o} {'↓' if o == 'positive' else '↑'}" for m, s, o in columns]
    lines = ["| proposals | importance | " + " | ".join(heads) + " |", "|---" * (len(columns) + 2) + "|"]
    for kind in PROPOSALS.values():
        for method in METHODS:
            cells = []
            for column in columns:
                r = next(r for r in rows if (r["model"], r["score"], r["order"]) == column
                         and (r["proposals"], r["method"]) == (kind, method))  # fmt: skip
                cells.append(f"{r['area']:.3f} ± {r['half_width']:.3f}{_mark(r)}")
            lines.append(f"| {kind} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mark(row: dict) -> str:
    """Beside tubelets with CRIS: "−" clearly worse, "+" clearly better."""
    if row["behind"] > row["behind_half_width"]:
        return " −"
    return " +" if row["behind"] < -row["behind_half_width"] else ""


def main(settings: Settings) -> None:
    rows, every = [], []
    for name in settings.models:
        model = vtcd.models.load(name)
        sets = [(group, seed) for seed in range(settings.seeds) for group in groups_of(model, settings.classes)]
        todo: list[tuple[int, int, Proposals]] = [(group, seed, kind) for group, seed in sets for kind in PROPOSALS]
        drawn = [curve for g, s, k in tqdm(todo, name) for curve in draw(settings, model, g, s, k)]
        rows += rows_of(name, drawn, (smooth(model), HARD[smooth(model)]))
        every += [{"model": name, **point} for point in points(drawn)]
    settings.out.mkdir(parents=True, exist_ok=True)
    write_csv(settings.out / "curves.csv", every, tuple(every[0]))
    write_csv(settings.out / "table1.csv", rows, tuple(rows[0]))
    text = table(rows)
    (settings.out / "table1.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    print('\n"−": clearly worse than tubelets with CRIS, seed by seed; "+": clearly better')


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
