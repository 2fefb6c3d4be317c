"""Effect of concepts on the prediction: designs, estimators, CRIS, occlusion, gradients and removal curves.

One function (``ablation.scores``) runs a network under gates. CRIS, occlusion and curves combine a design, which makes
gates, with an estimator, which turns scores into importance.
"""

from vtcd_jax.ablation import MODES, Explicit, Support, scores, slopes
from vtcd_jax.devices.mesh import make_mesh
from vtcd_jax.scores import SCORES, Context, Targets, find_targets, score_functions

from .controls import Control, controls
from .cris import Ranking, cris, importance_from_scores, rank
from .curves import Curves, attribution_curve, in_layer, layer_importance, released_area, removal_curves
from .designs import Bernoulli, Hadamard, Joined, LeaveOneOut, Levels, Paired, Random, Slopes
from .estimation import ESTIMATORS, Convergence, Importance, Interactions, pair_interactions, permutation_null
from .gradients import gradient_gate, integrated_gradients
from .named_designs import DESIGNS, make_design
from .occlusion import occlusion

__all__ = [
    "DESIGNS",
    "ESTIMATORS",
    "MODES",
    "SCORES",
    "Bernoulli",
    "Context",
    "Control",
    "Convergence",
    "Curves",
    "Explicit",
    "Hadamard",
    "Importance",
    "Interactions",
    "Joined",
    "LeaveOneOut",
    "Levels",
    "Paired",
    "Random",
    "Ranking",
    "Slopes",
    "Support",
    "Targets",
    "attribution_curve",
    "controls",
    "cris",
    "find_targets",
    "gradient_gate",
    "importance_from_scores",
    "in_layer",
    "integrated_gradients",
    "layer_importance",
    "make_design",
    "make_mesh",
    "occlusion",
    "pair_interactions",
    "permutation_null",
    "rank",
    "released_area",
    "removal_curves",
    "score_functions",
    "scores",
    "slopes",
]
