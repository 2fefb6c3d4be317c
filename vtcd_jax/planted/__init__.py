"""Planted truth: hand-written networks and clips with known right answers, and a benchmark of methods on them.

version 1   model() ── heads are known detectors ──▶ clips(count, seed) ──▶ truth: tokens of each property
                                                          │
            benchmark({"mine": Method(discover, rank)}) ──┘ ──▶ precision, recall, ranks, areas
version 2   instance(seed, count): a network by seed, its clips and their truth
            compare({"mine": from_arrays(fit)}) ──▶ matching score, ranking and areas at several levels of noise

In both, random concepts are the control.
"""

from .baselines.arrays import from_arrays
from .baselines.named import BASELINES, baselines
from .circuits.instance import Instance, instance
from .comparison.report import Comparison, compare
from .comparison.settings import ComparisonSettings
from .comparison.table import comparison_lines
from .evaluation.judging import Report, benchmark
from .evaluation.methods import Method, from_tokens, vtcd
from .evaluation.settings import Settings, VtcdSettings
from .evaluation.table import lines
from .network.network import model
from .network.scene import clips
from .network.truth import PROPERTIES, Property, planted_logit, token_masks

__all__ = [
    "BASELINES",
    "PROPERTIES",
    "Comparison",
    "ComparisonSettings",
    "Instance",
    "Method",
    "Property",
    "Report",
    "Settings",
    "VtcdSettings",
    "baselines",
    "benchmark",
    "clips",
    "compare",
    "comparison_lines",
    "from_arrays",
    "from_tokens",
    "instance",
    "lines",
    "model",
    "planted_logit",
    "token_masks",
    "vtcd",
]
