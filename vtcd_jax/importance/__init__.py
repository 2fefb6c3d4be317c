"""What concepts do to the prediction: masked passes, designs, estimators and attribution curves.

One engine (``scores``) runs a network under gates; CRIS, occlusion and curves are designs that make gates and readers
that turn scores into importance. Names are looked up on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtcd_jax.ablation.engine import scores
    from vtcd_jax.ablation.support import MODES, Support
    from vtcd_jax.devices.mesh import make_mesh
    from vtcd_jax.scores.functions import SCORES, Context, score_functions
    from vtcd_jax.scores.targets import Targets, find_targets

    from .cris import DESIGNS, cris, importance_from_scores
    from .curves import Curves, attribution_curve, in_layer, layer_importance, released_area
    from .designs.hadamard import Hadamard
    from .designs.random import Bernoulli, Explicit, LeaveOneOut, Paired, Random
    from .estimation.convergence import Convergence
    from .estimation.estimators import ESTIMATORS
    from .estimation.permutation import permutation_null
    from .estimation.result import Importance
    from .gradients import gradient_gate, integrated_gradients
    from .occlusion import occlusion

_HOMES = {
    "Bernoulli": "designs",
    "Context": "score",
    "Convergence": "convergence",
    "Curves": "curves",
    "DESIGNS": "ranking",
    "ESTIMATORS": "estimators",
    "Explicit": "designs",
    "Hadamard": "blocks",
    "Importance": "result",
    "LeaveOneOut": "designs",
    "MODES": "support",
    "Paired": "designs",
    "Random": "designs",
    "SCORES": "score",
    "Support": "support",
    "Targets": "targets",
    "attribution_curve": "curves",
    "cris": "ranking",
    "find_targets": "targets",
    "gradient_gate": "gradients",
    "importance_from_scores": "ranking",
    "in_layer": "curves",
    "integrated_gradients": "gradients",
    "layer_importance": "curves",
    "make_mesh": "placement",
    "occlusion": "occluding",
    "permutation_null": "null",
    "released_area": "curves",
    "score_functions": "score",
    "scores": "engine",
}
__all__ = [
    "Bernoulli", "Context", "Convergence", "Curves", "DESIGNS", "ESTIMATORS", "Explicit", "Hadamard", "Importance",
    "LeaveOneOut", "MODES", "Paired", "Random", "SCORES", "Support", "Targets", "attribution_curve", "cris",
    "find_targets", "gradient_gate", "importance_from_scores", "in_layer", "integrated_gradients",
    "layer_importance", "make_mesh", "occlusion", "permutation_null", "released_area", "score_functions", "scores",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
