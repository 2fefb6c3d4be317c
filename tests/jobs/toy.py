"""The toy method of docs/adding_a_method.md: its three files, each in a folder that its package searches too."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import vtcd_jax
import vtcd_jax.jobs
import vtcd_jax.report.sections

GUIDE = Path(__file__).parents[2] / "docs" / "adding_a_method.md"
PACKAGES: tuple[ModuleType, ...] = (vtcd_jax, vtcd_jax.jobs, vtcd_jax.report.sections)


def write(folder: Path) -> dict[ModuleType, str]:
    """Writes the guide's code blocks below a folder; package -> the folder that it has to search."""
    codes = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    places = {}
    for package, code in zip(PACKAGES, codes, strict=True):
        place = folder / package.__name__
        place.mkdir(parents=True, exist_ok=True)
        (place / "brightness.py").write_text(code)
        places[package] = str(place)
    return places


def install(folder: Path) -> None:
    """Adds the toy to this process."""
    for package, place in write(folder).items():
        package.__path__.append(place)
