"""Planted truth: a hand-written network and clips with known right answers, and a benchmark of methods on them.

model() ── heads are known detectors ──▶ clips(count, seed) ──▶ truth: tokens of each property, heads that act
                                              │
benchmark({"mine": Method(discover, rank)}) ──┘ ──▶ precision, recall, ranks, areas; random concepts as control
"""

from .evaluation.judging import Report, benchmark
from .evaluation.methods import Method, from_tokens, vtcd
from .evaluation.settings import Settings, VtcdSettings
from .evaluation.table import lines
from .network.network import model
from .network.scene import clips
from .network.truth import PROPERTIES, Property, planted_logit, token_masks

__all__ = [
    "PROPERTIES",
    "Method",
    "Property",
    "Report",
    "Settings",
    "VtcdSettings",
    "benchmark",
    "clips",
    "from_tokens",
    "lines",
    "model",
    "planted_logit",
    "token_masks",
    "vtcd",
]
