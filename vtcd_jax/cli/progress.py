"""Progress of the stages on standard error: bars with the remaining time; without a terminal a line per stage."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from vtcd_jax.runs.work import Step

if TYPE_CHECKING:
    from tqdm import tqdm

_PLURAL = {"pass": "passes"}
# The bar comes last and takes the rest of the line: a narrow terminal cuts off nothing else.
_FORMAT = "{desc:<18} {n_fmt}/{total_fmt} UNIT{postfix}, {remaining} left, {rate_noinv_fmt} |{bar}|"


class Progress:
    """Called as progress(step, done, total, detail); closes open bars at the end of a ``with`` block.

    detail: short text after the numbers, such as "3/12 clips".
    A step begins with its first call. Work that was done before is not counted in the rate.
    quiet: show nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._interactive = quiet, sys.stderr.isatty()
        self._bars: dict[str, tqdm] = {}
        self._begun: dict[str, float] = {}

    def __call__(self, step: Step, done: int, total: int, detail: str = "") -> None:
        if self._quiet:
            return
        begun = self._begun.setdefault(step.name, time.monotonic())
        if self._interactive:
            self._draw(step, done, total, detail)
        elif done >= total and not step.brief:
            print(
                f"{step.title:<19} {total} {_unit(step, total)}, {time.monotonic() - begun:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        if done >= total:
            del self._begun[step.name]

    def _draw(self, step: Step, done: int, total: int, detail: str) -> None:
        from tqdm import tqdm

        if step.name not in self._bars:
            width = min(shutil.get_terminal_size().columns, 100)  # 80 if the terminal reports none
            self._bars[step.name] = tqdm(
                total=total,
                initial=done,
                desc=step.title,
                unit="",
                bar_format=_FORMAT.replace("UNIT", _unit(step, total)),
                smoothing=0.1,
                ncols=width,
                nrows=20,
            )
        bar = self._bars[step.name]
        bar.set_postfix_str(detail, refresh=False)
        bar.update(done - bar.n)
        if done >= total:
            self._bars.pop(step.name).close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        """Closes open bars, so that an error message begins on a new line."""
        while self._bars:
            self._bars.popitem()[1].close()


def _unit(step: Step, total: int) -> str:
    return step.unit if total == 1 else _PLURAL.get(step.unit, step.unit + "s")
