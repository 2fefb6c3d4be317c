"""Progress bars of the stages, with an honest remaining time."""

from __future__ import annotations

from collections.abc import Callable

UNITS = {"segment": "clip", "count": "layer", "factorise": "layer", "assign": "layer", "read": "clip"}
TITLES = {
    "read": "reading clips",
    "segment": "tubelets",
    "count": "number of concepts",
    "factorise": "concepts",
    "assign": "concepts on held-out clips",
    "rank": "ranking: masked passes",
    "curves": "curves: masked passes",
}


def bars(quiet: bool) -> Callable[[str, int, int], None]:
    """progress(stage, done, total): a bar per stage on standard error; nothing when quiet."""
    if quiet:
        return lambda stage, done, total: None
    from tqdm import tqdm

    current: dict[str, tqdm] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in current:
            bar = current[stage] = tqdm(
                total=total, desc=TITLES.get(stage, stage), unit=" " + UNITS.get(stage, "pass"), dynamic_ncols=True
            )
            bar.smoothing = 0.1
        bar = current[stage]
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            del current[stage]

    return progress
