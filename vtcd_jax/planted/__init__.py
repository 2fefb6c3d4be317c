"""Planted truth: a hand-written network and clips of which the right answers are known, and methods judged on them.

    model() ── heads are known detectors ──▶ clips(count, seed) ──▶ truth: which tokens have which property, what acts
                                                  │
    benchmark({"mine": Method(discover, rank)}) ──┘ ──▶ precision, recall, ranks, areas beside random concepts

Names are looked up on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.judging import Report, benchmark
    from .evaluation.methods import Method, from_tokens, vtcd
    from .evaluation.settings import Settings, VtcdSettings
    from .evaluation.table import lines
    from .network.network import model
    from .network.scene import clips
    from .network.truth import PROPERTIES, Property, own_logit, token_masks

_HOMES = {
    "Method": "methods",
    "PROPERTIES": "truth",
    "Property": "truth",
    "Report": "benchmarking",
    "Settings": "settings",
    "VtcdSettings": "settings",
    "benchmark": "benchmarking",
    "clips": "scene",
    "from_tokens": "methods",
    "lines": "table",
    "model": "network",
    "own_logit": "truth",
    "token_masks": "truth",
    "vtcd": "methods",
}
__all__ = [
    "Method", "PROPERTIES", "Property", "Report", "Settings", "VtcdSettings", "benchmark", "clips",
    "from_tokens", "lines", "model", "own_logit", "token_masks", "vtcd",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
