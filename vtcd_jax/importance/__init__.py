"""What concepts do to the prediction: masked passes, designs, estimators and attribution curves.

One engine (``scores``) runs a network under gates; CRIS, occlusion and curves are designs that make gates and readers
that turn scores into importance.
"""

from __future__ import annotations

from importlib import import_module

_HOMES = {
    "Support": "support",
    "Context": "score",
    "SCORES": "score",
    "score_functions": "score",
    "targets": "score",
    "Random": "designs",
    "Explicit": "designs",
    "leave_one_out": "designs",
    "scores": "engine",
    "Importance": "cris",
    "cris": "cris",
    "importance_from_scores": "cris",
    "Curves": "curves",
    "attribution_curve": "curves",
    "layer_importance": "curves",
    "released_area": "curves",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    try:
        return import_module(f"{__name__}.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
