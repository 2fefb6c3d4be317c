"""Progress of the stages on standard error: bars with the time that is left, or a line per stage where no one looks."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

TITLES = {
    "read": ("reading", "clip"),
    "segment": ("tubelets", "clip"),
    "count": ("number of concepts", "layer"),
    "factorise": ("concepts", "layer"),
    "stability": ("stability", "refit"),
    "assign": ("held-out concepts", "layer"),
    "rank": ("ranking", "pass"),
    "curves": ("curves", "pass"),
    "control": ("control", "pass"),
    "control-curve": ("control curve", "pass"),
    "overlaps": ("overlap with masks", "mask"),
    "report": ("report", "page"),
    "trials": ("planted truth", "trial"),
}
_PLURAL = {"pass": "passes"}
# The bar takes what room is left, and comes last: a narrow terminal cuts nothing else off.
_FORMAT = "{desc:<18} {n_fmt}/{total_fmt} UNIT{postfix}, {remaining} left, {rate_noinv_fmt} |{bar}|"


class Progress:
    """Called as progress(stage, done, total, detail); closes what is open at the end of a ``with`` block.

    detail: a word about the work beside the numbers, such as "3/12 clips".
    A stage begins with its first call, which may find work done already: the rate counts only what follows.
    quiet: show nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._lively = quiet, sys.stderr.isatty()
        self._bars: dict[str, tqdm] = {}
        self._begun: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if self._quiet:
            return
        begun = self._begun.setdefault(stage, time.monotonic())
        if self._lively:
            self._draw(stage, done, total, detail)
        elif done >= total and stage != "read":  # an error about a clip shall stand alone
            title, unit = _words(stage, total)
            print(f"{title:<19} {total} {unit}, {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
        if done >= total:
            del self._begun[stage]

    def _draw(self, stage: str, done: int, total: int, detail: str) -> None:
        from tqdm import tqdm

        if stage not in self._bars:
            title, unit = _words(stage, total)
            width = min(shutil.get_terminal_size().columns, 100)  # 80 where the terminal does not tell
            self._bars[stage] = tqdm(
                total=total,
                initial=done,
                desc=title,
                unit="",
                bar_format=_FORMAT.replace("UNIT", unit),
                smoothing=0.1,
                ncols=width,
                nrows=20,
            )
        bar = self._bars[stage]
        bar.set_postfix_str(detail, refresh=False)
        bar.update(done - bar.n)
        if done >= total:
            self._bars.pop(stage).close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends lines that were not finished, so that an error message begins on a line of its own."""
        while self._bars:
            self._bars.popitem()[1].close()


def _words(stage: str, total: int) -> tuple[str, str]:
    title, unit = TITLES.get(stage, (stage, "step"))
    return title, unit if total == 1 else _PLURAL.get(unit, unit + "s")
