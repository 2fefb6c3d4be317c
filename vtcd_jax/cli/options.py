"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

Flat = tyro.conf.arg(name="")  # the fields of a parameter as options of the command, without a prefix
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class Common:
    """Options of every command."""

    quiet: bool = False
    """Print results and errors only."""
    debug: bool = False
    """Show tracebacks."""


@dataclass(frozen=True)
class Folder:
    """Use of an existing run folder."""

    resume: bool = False
    """Continue an interrupted run."""
    overwrite: bool = False
    """Replace the existing run."""
    dry_run: bool = False
    """Measure a piece of every stage; print bounds of passes, memory and time; write nothing."""


COMMON = Common()
FOLDER = Folder()
