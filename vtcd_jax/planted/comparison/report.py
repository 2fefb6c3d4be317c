"""Version 2 of the benchmark: methods on instances by seed, at several levels of noise, with intervals and claims.

Every seed is a network and its clips. A claim about a method holds at a level if the interval over seeds of its figure
and that of what it is compared with do not overlap; against random centres, which have the same networks and clips, if
that of the differences, seed by seed, leaves zero out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

from vtcd_jax import __version__
from vtcd_jax.models import InputError
from vtcd_jax.runs import Work

from ..circuits.instance import instance
from ..circuits.network import CONFIG
from ..circuits.properties import NAMES
from ..circuits.wiring import CIRCUITS, PER_HEAD, RANK
from ..evaluation.intervals import Interval, above, ahead, better, over_seeds, plain
from ..evaluation.methods import Method
from ..evaluation.threads import run_all
from .ceiling import ceiling
from .settings import ComparisonSettings
from .trial import trial

FORMAT = "vtcd-benchmark/2"
NOTHING_LEARNED = {  # method -> the random centres that are as many, or used in the same way; of others random-centres
    "tokens": "random-centres-tokens", "hierarchy": "random-centres-tree", "single-tokens": "random-centres-single",
    **dict.fromkeys(("k-means", "silhouette", "tree", "sparse", "occlusion", "gradients"), "random-tokens"),
}  # fmt: skip
AGREEMENT = 0.9
# claim -> (metric, whether larger is better): better than random groups of the method's own sizes
CLAIMS = {
    "properties are recovered better than by random groups": ("iou/mean", True),
    "with every concept once and a price for their number, too": ("score", True),
    "removing the most important first takes fewer tokens than with random groups": ("token_area/most-first", False),
}
CLAIM_LEARNED = "the score is higher than that of random centres"
CLAIM_AGREEMENT = f"importance agrees with the exact one: correlation above {AGREEMENT}"

Figures = dict[str, dict[str, Interval]]
"""method -> metric -> interval."""


@dataclass(frozen=True)
class LevelResult:
    """Results at one level of noise.

    found, groups:  the metrics of ``trial``, of each method and of its random groups.
    ceiling:        the metrics of ``ceiling``.
    claims:         method -> claim -> whether it holds; None with one seed, which has no interval.
    """

    level: float
    found: Figures
    groups: Figures
    ceiling: dict[str, Interval]
    claims: dict[str, dict[str, bool | None]]


@dataclass(frozen=True)
class Comparison:
    """Results of version 2."""

    settings: ComparisonSettings
    levels: tuple[LevelResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain types; equal settings on equal devices give equal content. Of a hidden seed only a hash,
        and nothing that was drawn from it but figures."""
        return {
            "format": FORMAT,
            "versions": {"vtcd_jax": __version__, **{name: version(name) for name in ("jax", "numpy", "scikit-image")}},
            "settings": self.settings.to_json(),
            "model": {"name": "planted circuits", **asdict(CONFIG)},
            "truth": {
                "properties": list(NAMES), "circuits": list(CIRCUITS), "key_dimensions": RANK,
                "properties_per_head": PER_HEAD,
            },
            "levels": [_plain_level(result) for result in self.levels],
        }  # fmt: skip


def compare(
    methods: Mapping[str, Method],
    settings: ComparisonSettings | None = None,
    *,
    workers: int = 1,
    work: Work = Work(),
) -> Comparison:
    """Evaluates methods by name on instances of version 2.

    workers: trials that run at the same time, in threads; does not change results.
    work:    reports progress.

    Raises InputError without methods, and for invalid results of a method.
    """
    settings = settings or ComparisonSettings()
    if not methods:
        raise InputError("no methods to evaluate; give at least one")
    instances = [instance(seed, settings.clips) for seed in settings.all_seeds()]
    cells = [(planted, planted.model(level)) for level in settings.levels for planted in instances]
    run = partial(trial, steps=settings.steps, controls=settings.controls)
    jobs = [partial(run, planted, network, method) for planted, network in cells for method in methods.values()]
    done = iter(run_all(jobs, workers, work))
    results = []
    for level in settings.levels:
        trials = [{name: next(done) for name in methods} for _ in instances]
        found, groups = (
            {name: over_seeds([t[name][kind] for t in trials]) for name in methods} for kind in ("found", "groups")
        )
        best = over_seeds([ceiling(planted, planted.model(level)) for planted in instances])
        claims = {name: _claims(name, found, groups) for name in methods}
        results.append(LevelResult(level, found, groups, best, claims))
    return Comparison(settings, tuple(results))


def _claims(name: str, found: Figures, groups: Figures) -> dict[str, bool | None]:
    claims = {
        claim: better(found[name][metric], groups[name][metric], larger) for claim, (metric, larger) in CLAIMS.items()
    }
    other = NOTHING_LEARNED.get(name, "random-centres")
    if other in found and not name.startswith("random"):
        claims[CLAIM_LEARNED] = ahead(found[name]["score"], found[other]["score"], True)
    claims[CLAIM_AGREEMENT] = above(found[name]["agreement"], AGREEMENT)
    return claims


def _plain_level(result: LevelResult) -> dict[str, Any]:
    figures = {
        name: {
            kind: {metric: plain(figure) for metric, figure in by_method[name].items()}
            for kind, by_method in (("found", result.found), ("groups", result.groups))
        }
        for name in result.found
    }
    claims = {
        name: [{"claim": claim, "passed": holds} for claim, holds in own.items()] for name, own in result.claims.items()
    }
    best = {metric: plain(figure) for metric, figure in result.ceiling.items()}
    return {"noise": result.level, "figures": figures, "ceiling": best, "claims": claims}
