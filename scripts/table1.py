"""The paper's table 1 on small shipped models: what concepts and rankings are worth, by the areas of removal curves.

    python scripts/table1.py                              # table1.csv, curves.csv and table1.md in runs/table1

Rows: a way to find concepts and a method to rank them. CRIS is by the default design: slopes joined with masks.
Columns: every model's positive area (most important first, small is good) and negative area (least important first,
large is good), ± Student's 95 % over seeds. ``behind`` compares seed by seed (equal clips) with the first row, the
first way ranked by CRIS: does the interval of the difference leave zero out? How curves are drawn: ``removal.py``.

    single tokens      the default: concepts are found in single tokens, their number by the knee
    random centres     as many random tokens as centres: what a dictionary must be better than
    single tokens, tree  the default, and half as many unions of its concepts
    tokens             tubelets find the concepts, tokens get them one by one
    hierarchy          the same, and half as many unions of them
    tubelets           the same concepts, given to whole tubelets
    random crops       concepts of random boxes instead of tubelets: the baseline of the paper
    released, paper    the two presets: their number of concepts, their steps, and their own rankings

Kowal et al. (2024), VTCD, table 1; what differs: ``docs/reproduction.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from removal import HARD, MASKS, ORDERS, RANDOM, Drawn, Removal, Way, areas, draw, groups_of, half_width, points, smooth
from tqdm import tqdm

import vtcd_jax as vtcd
from vtcd_jax.concepts import NmfConfig, SlicConfig
from vtcd_jax.runs.tables import write_csv

METHODS = ("CRIS", "occlusion", "integrated gradients", RANDOM)
TUBELETS = NmfConfig(refits=0, assign="tubelets")
IN_TUBELETS = SlicConfig(proposals="slic")
WAYS = {
    "single tokens": Way((METHODS[0], MASKS, *METHODS[1:])),
    "random centres": Way(("CRIS",), centres=True),
    "single tokens, tree": Way(("CRIS",), NmfConfig(refits=0, tree=0.5)),
    "tokens": Way(METHODS, slic=IN_TUBELETS),
    "hierarchy": Way(("CRIS",), NmfConfig(refits=0, tree=0.5), IN_TUBELETS),
    "tubelets": Way(METHODS, TUBELETS),
    "random crops": Way(METHODS, TUBELETS, SlicConfig(proposals="crops")),
    "released": Way(("released",), replace(NmfConfig.released(), refits=0)),
    "paper": Way(("paper",), replace(NmfConfig.paper(), refits=0)),
}


@dataclass(frozen=True)
class Settings(Removal):
    """What the table depends on."""

    models: tuple[str, ...] = ("world-videomae", "world-tcow")
    seeds: int = 8
    out: Path = Path("runs/table1")
    ways: tuple[str, ...] = tuple(WAYS)
    """Which of the ways, the one that others are compared with first."""
    classes: int = 4
    """Classes of the synthetic world, for classifiers; others use clips of all of them at once."""


def rows_of(model: str, drawn: list[Drawn], scores: tuple[str, ...]) -> list[dict[str, object]]:
    """A row per score, order, way and method."""
    rows = []
    for score in scores:
        for order in ORDERS:
            own = [d for d in drawn if d.order == order]
            found = {
                (way, method): areas([d for d in own if (d.way, d.method) == (way, method)], score)
                for way, method in dict.fromkeys((d.way, d.method) for d in own)
            }
            first = next(iter(found.values()))
            for (way, method), values in found.items():
                gain = (values - first) * (1 if order == "positive" else -1)  # above 0: worse than the first row
                rows.append({
                    "model": model, "score": score, "order": order, "way": way, "method": method,
                    "area": float(values.mean()), "half_width": half_width(values), "seeds": len(values),
                    "behind": float(gain.mean()), "behind_half_width": half_width(gain),
                })  # fmt: skip
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Markdown: a row per way and method, two columns per model and score."""
    columns = list(dict.fromkeys((r["model"], r["score"], r["order"]) for r in rows))
    heads = [f"{m}, {str(s).replace('_', ' ')}, {o} {'↓' if o == 'positive' else '↑'}" for m, s, o in columns]
    lines = ["| concepts | importance | " + " | ".join(heads) + " |", "|---" * (len(columns) + 2) + "|"]
    for at in dict.fromkeys((r["way"], r["method"]) for r in rows):
        cells = []
        for column in columns:
            r = next(r for r in rows if ((r["model"], r["score"], r["order"]), (r["way"], r["method"])) == (column, at))
            cells.append(f"{r['area']:.3f} ± {r['half_width']:.3f}{_mark(r)}")
        lines.append(f"| {at[0]} | {at[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mark(row: dict) -> str:
    """Beside the first row: "−" clearly worse, "+" clearly better."""
    if row["behind"] > row["behind_half_width"]:
        return " −"
    return " +" if row["behind"] < -row["behind_half_width"] else ""


def main(settings: Settings) -> None:
    if unknown := set(settings.ways) - set(WAYS):
        raise SystemExit(f"table1.py: no way {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    rows, every = [], []
    for name in settings.models:
        model = vtcd.models.load(name)
        sets = [(group, seed) for seed in range(settings.seeds) for group in groups_of(model, settings.classes)]
        todo = [(group, seed, way) for group, seed in sets for way in settings.ways]
        drawn = [curve for g, s, way in tqdm(todo, name) for curve in draw(settings, model, g, s, way, WAYS[way])]
        rows += rows_of(name, drawn, (smooth(model), HARD[smooth(model)]))
        every += [{"model": name, **point} for point in points(drawn)]
    settings.out.mkdir(parents=True, exist_ok=True)
    write_csv(settings.out / "curves.csv", every, tuple(every[0]))
    write_csv(settings.out / "table1.csv", rows, tuple(rows[0]))
    text = table(rows)
    (settings.out / "table1.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    print('\n"−": clearly worse than the first row, seed by seed; "+": clearly better')


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
