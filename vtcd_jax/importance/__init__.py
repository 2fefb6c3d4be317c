"""What concepts do to the prediction: masked passes, designs, estimators and attribution curves.

One engine (``scores``) runs a network under gates; CRIS, occlusion and curves are designs that make gates and readers
that turn scores into importance. Names are looked up on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .curves import Curves, attribution_curve, layer_importance, released_area
    from .designs import Explicit, Random, leave_one_out
    from .engine import scores
    from .ranking import Importance, cris, importance_from_scores
    from .score import SCORES, Context, score_functions
    from .support import Support
    from .targets import Targets, find_targets

_HOMES = {
    "Context": "score",
    "Curves": "curves",
    "Explicit": "designs",
    "Importance": "ranking",
    "Random": "designs",
    "SCORES": "score",
    "Support": "support",
    "Targets": "targets",
    "attribution_curve": "curves",
    "cris": "ranking",
    "find_targets": "targets",
    "importance_from_scores": "ranking",
    "layer_importance": "curves",
    "leave_one_out": "designs",
    "released_area": "curves",
    "score_functions": "score",
    "scores": "engine",
}
__all__ = [
    "SCORES", "Context", "Curves", "Explicit", "Importance", "Random", "Support", "Targets", "attribution_curve",
    "cris", "find_targets", "importance_from_scores", "layer_importance", "leave_one_out", "released_area",
    "score_functions", "scores",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
