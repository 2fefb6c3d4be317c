"""Published checkpoints -> our parameters: a rule table per family, and one strict loop for all.

``convert(checkpoint, out)`` recognises container, layout and family by itself and writes a model folder for
``vtcd_jax.models.load``. No torch, and nothing in a checkpoint is ever executed. A new family is one module
in ``families`` that defines ``LAYOUTS`` (see ``layouts.Layout``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conversion import convert
    from .report import ConversionReport

_HOMES = {"convert": ".conversion", "ConversionReport": ".report"}
__all__ = ["ConversionReport", "convert"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
