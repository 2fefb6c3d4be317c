"""The whole judgement at its smallest: VTCD's way, an own method, and what is refused."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from vtcd_jax import planted
from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig
from vtcd_jax.models import InputError
from vtcd_jax.planted.network.truth import GRID, SITES

pytestmark = pytest.mark.compile

FEW = planted.VtcdSettings(
    masks=48,
    slic=SlicConfig(resolution="token", proposals="crops"),
    nmf=NmfConfig(elbow=ElbowRule(rule="fixed", number=3), restarts=1, max_steps=40),
)
SMALL = planted.Settings(clips=8, seeds=1, steps=4, controls=2)


def test_vtcd_is_judged_and_the_figures_are_the_same_again():
    report = planted.benchmark({"tiny": planted.vtcd(FEW), "again": planted.vtcd(FEW)}, SMALL, workers=2)
    found, centres, groups = (report.figures["tiny"][kind] for kind in ("found", "centres", "groups"))
    assert found.keys() == centres.keys() == groups.keys() and len(found["iou/mean"].values) == 1
    for name in ("precision/red", "recall/red", "iou/mean", "own_head/left", "ahead/mean"):
        assert all(0 <= value <= 1 for value in found[name].values), name
    assert all(1 <= value <= found["concepts"].mean for value in found["rank/right"].values)
    assert found["agreement"].mean > 0.8
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert {"settings", "versions", "model", "truth", "claims", "passed", "figures"} <= set(told)
    assert told["figures"]["tiny"] == told["figures"]["again"]
    assert told["passed"] == {"tiny": None, "again": None}  # one seed has no intervals
    assert any("red" in line for line in planted.lines(report))
    assert any("one seed" in line for line in planted.lines(report))


def quarters(model, clips, key):
    """An own discoverer: every head's tokens in four groups, by place."""
    row, column = np.indices(GRID)[1:]
    place = (2 * (row >= 4) + (column >= 4))[..., None] + 4 * np.arange(2)
    ids = {site: np.broadcast_to(place + 8 * s, (len(clips), *GRID, 2)) for s, site in enumerate(SITES)}
    return planted.from_tokens(clips, ids, 24)


def own(rank) -> planted.Method:
    return planted.Method(quarters, rank, assign=lambda model, clips, concepts: quarters(model, clips, None))


def test_an_own_method_over_two_seeds():
    """Found for certain, and ranked by chance: one claim holds, another does not."""
    mine = own(lambda model, clips, concepts, key: jax.random.normal(key, (len(concepts),)))
    report = planted.benchmark({"mine": mine}, planted.Settings(clips=8, seeds=2, steps=4, controls=2))
    found, centres, groups = (report.figures["mine"][kind] for kind in ("found", "centres", "groups"))
    assert found["iou/upper left"].values == found["own_head/upper left"].values == (1, 1)
    assert found["iou/mean"].low > groups["iou/mean"].high
    assert centres["concepts"].mean == 24  # as many tokens as centres, carried over to the other half
    assert centres["iou/upper left"].mean > groups["iou/upper left"].mean
    assert max(np.abs(found["agreement"].values)) < 0.8
    claims = report.claims["mine"]
    assert claims["properties are recovered better than by random groups"] and report.passed("mine") is False
    assert "NO" in "\n".join(planted.lines(report))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="no methods"):
        planted.benchmark({})
    for fields, word in (({"clips": 4}, "clips"), ({"seeds": 0}, "seeds"), ({"noise": -1.0}, "noise")):
        with pytest.raises(InputError, match=word):
            planted.Settings(**fields)
    with pytest.raises(InputError, match="masks"):
        planted.VtcdSettings(masks=1)
    with pytest.raises(InputError, match="each of 24 concepts"):
        planted.benchmark({"mine": own(lambda *_: np.zeros(3))}, SMALL)
    other = planted.Method(quarters, lambda *_: np.zeros(24), lambda model, clips, c: quarters(model, clips[:1], None))
    with pytest.raises(InputError, match="of 4 clips"):
        planted.benchmark({"mine": other}, SMALL)
