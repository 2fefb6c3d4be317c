"""The benchmark of methods on planted truth over several seeds: metrics with intervals, and claims.

Each seed has its own clips. A claim about a method (``CLAIMS``) holds if its interval and that of random groups do not
overlap, or if the interval of its differences from random centres, seed by seed, leaves zero out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import jax

from vtcd_jax import __version__
from vtcd_jax.models import InputError
from vtcd_jax.runs import Work

from ..network.network import CONFIG, model
from ..network.scene import clips
from ..network.truth import ACTING, PROPERTIES
from .intervals import Interval, above, ahead, better, over_seeds, plain
from .methods import Method
from .metrics import Metrics
from .settings import Settings
from .threads import run_all
from .trials import trial

AHEAD = 0.95  # of the concepts of heads that do nothing
AGREEMENT = 0.9
_AREA = "token_area/most-first"
# claim -> (metric, whether larger is better, control): better than the control, which is compared seed by seed for
# random centres, and else without overlap of the intervals
CLAIMS = {
    "properties are recovered better than by random centres": ("iou/mean", True, "centres"),
    "properties are recovered better than by random groups": ("iou/mean", True, "groups"),
    "concepts that act rank higher than random groups": ("rank/mean", False, "groups"),
    "tokens of concepts that act do more than those of random groups": ("density/mean", True, "groups"),
    "removing the most important first takes fewer tokens than with random centres": (_AREA, False, "centres"),
    "removing the most important first takes fewer tokens than with random groups": (_AREA, False, "groups"),
}
COMPARED = {"centres": ahead, "groups": better}
CLAIM_AHEAD = f"concepts that act rank before {AHEAD:.0%} of those of heads that do nothing"
CLAIM_AGREEMENT = f"importance agrees with the exact one: correlation above {AGREEMENT}"


@dataclass(frozen=True)
class Report:
    """Results of the benchmark.

    figures: method -> "found", "centres" or "groups" -> metric (see ``trials``) -> interval.
    claims:  method -> claim -> whether it holds; None with one seed, which has no interval.
    """

    settings: Settings
    figures: dict[str, dict[str, dict[str, Interval]]]
    claims: dict[str, dict[str, bool | None]]

    def passed(self, method: str) -> bool | None:
        """Whether all claims about a method hold."""
        results = self.claims[method].values()
        return None if None in results else all(results)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain types; equal settings on equal devices give equal content."""
        return {
            "format": "vtcd-benchmark/1",
            "versions": {"vtcd_jax": __version__, **{name: version(name) for name in ("jax", "numpy", "scikit-image")}},
            "settings": asdict(self.settings),
            "model": {"name": "planted", **asdict(CONFIG)},
            "truth": [asdict(p) for p in PROPERTIES],
            "heads_that_act": [list(place) for place in ACTING],
            "figures": {
                method: {kind: {n: plain(f) for n, f in metrics.items()} for kind, metrics in by_kind.items()}
                for method, by_kind in self.figures.items()
            },
            "claims": {
                method: [{"claim": claim, "passed": holds} for claim, holds in claims.items()]
                for method, claims in self.claims.items()
            },
            "passed": {method: self.passed(method) for method in self.claims},
        }


def benchmark(
    methods: Mapping[str, Method],
    settings: Settings | None = None,
    *,
    workers: int = 1,
    work: Work = Work(),
) -> Report:
    """Evaluates methods by name on planted clips.

    workers: trials that run at the same time, in threads; does not change results.
    work:    reports progress.

    Raises InputError without methods, and for invalid results of a method.
    """
    settings = settings or Settings()
    if not methods:
        raise InputError("no methods to evaluate; give at least one")
    network = model(settings.noise)
    seeds = range(settings.seed, settings.seed + settings.seeds)
    planted = {seed: clips(settings.clips, seed) for seed in seeds}

    def run(name: str, seed: int) -> dict[str, Metrics]:
        return trial(network, planted[seed], methods[name], settings, jax.random.key(seed))

    done = run_all([partial(run, name, seed) for seed in seeds for name in methods], workers, work)
    trials = {name: done[m :: len(methods)] for m, name in enumerate(methods)}
    figures = {name: {k: over_seeds([t[k] for t in done]) for k in done[0]} for name, done in trials.items()}
    return Report(settings, figures, {name: _claims(by_kind) for name, by_kind in figures.items()})


def _claims(by_kind: Mapping[str, Mapping[str, Interval]]) -> dict[str, bool | None]:
    found = by_kind["found"]
    claims = {
        claim: COMPARED[control](found[name], by_kind[control][name], larger)
        for claim, (name, larger, control) in CLAIMS.items()
    }
    claims[CLAIM_AHEAD] = above(found["ahead/mean"], AHEAD)
    claims[CLAIM_AGREEMENT] = above(found["agreement"], AGREEMENT)
    return claims
