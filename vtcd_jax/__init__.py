"""Concept-based interpretability of video transformers: discover concepts, rank them, look at them.

    import vtcd_jax as vtcd
    model = vtcd.models.load(vtcd.models.names()[0])

The package is a house of rooms, each of which imports only rooms below it (the map: CONTRIBUTING.md). A room is
imported when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import (
        ablation,
        base,
        cli,
        concepts,
        converters,
        data,
        devices,
        features,
        importance,
        jobs,
        models,
        planted,
        plot,
        probes,
        report,
        runs,
        scores,
        training,
        world,
    )

__version__ = "0.1.0"
__all__ = [
    "ablation",
    "base",
    "cli",
    "concepts",
    "converters",
    "data",
    "devices",
    "features",
    "importance",
    "jobs",
    "models",
    "planted",
    "plot",
    "probes",
    "report",
    "runs",
    "scores",
    "training",
    "world",
]

_HERE = Path(__file__).resolve().parent
# In a checkout the rooms `models` and `converters` lie beside this package, not inside it as in a wheel.
if not (_HERE / "models").is_dir() and all((_HERE.parent / n).exists() for n in ("models", "pyproject.toml")):
    __path__.append(str(_HERE.parent))


if not TYPE_CHECKING:  # editors would take every misspelt name for a room

    def __getattr__(name: str) -> ModuleType:
        if name in __all__:
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
