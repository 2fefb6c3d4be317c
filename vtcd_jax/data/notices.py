"""What a user should know about the input though it can be used: warnings, one line each."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


class InputWarning(UserWarning):
    """Input that was used, but not all of it or not as it stands. The command prints it and writes it to the run."""


class SkippedClips(InputWarning):
    """Clips that cannot be read were left out because this was asked for.

    reasons: clip name -> what is wrong with it.
    """

    def __init__(self, reasons: Mapping[str, str], total: int) -> None:
        self.reasons = dict(reasons)
        super().__init__(f"left out {len(self.reasons)} of {total} clips that cannot be read: {some(list(reasons))}")


def warn(warning: InputWarning) -> None:
    """Issues a warning, with the caller's caller as its place."""
    warnings.warn(warning, stacklevel=3)


@contextlib.contextmanager
def recorded() -> Iterator[list[InputWarning]]:
    """Collects the input warnings of a block, for a run's log; they are issued at its end as they would have been."""
    caught: list[InputWarning] = []
    try:
        with warnings.catch_warnings(record=True) as every:
            warnings.simplefilter("always", InputWarning)
            yield caught
    finally:
        for each in every:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        caught += [each.message for each in every if isinstance(each.message, InputWarning)]


@contextlib.contextmanager
def printed(write: Callable[[str], None]) -> Iterator[None]:
    """Input warnings go to ``write``, a line each and every one, rather than to where Python shows warnings."""
    show = warnings.showwarning

    def say(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, InputWarning):
            write(" ".join(str(message).splitlines()))
        else:
            show(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = say
        yield


def some(names: Sequence[str], most: int = 10) -> str:
    """The first ``most`` names in one line, and how many follow."""
    rest = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def printable(name: str) -> str:
    r"""A file name that can be printed and encoded: bytes that are no UTF-8, and control characters, as \xNN."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda hit: f"\\x{ord(hit[0]):02x}", text)
