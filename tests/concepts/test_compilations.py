"""Other clips mostly run in programs that are compiled already."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.compile

COUNTING = """
import json
import sys
import jax
from tests.concepts.test_discovery import SIZES, VideoMAEConfig, make_clips, models
from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig, discover
from vtcd_jax.importance import attribution_curve, cris

compiled = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name == "/jax/core/compile/backend_compile_duration" else None
)
rule = ElbowRule("released", threshold=0.88, maximum=9) if sys.argv[1] == "slic" else ElbowRule(maximum=9)
NMF = NmfConfig(elbow=rule, max_steps=40, restarts=2, refits=1)
SLIC = SlicConfig(proposals=sys.argv[1], samples=100)
model = models.build(VideoMAEConfig(**SIZES, num_classes=3), key=0, name="tiny")
found = []
for clips, seed in ((5, 0), (5, 1), (6, 2), (14, 3)):
    begun, sample = len(compiled), make_clips(clips, seed)
    concepts = discover(model, sample, slic=SLIC, nmf=NMF, key=seed)
    ranked = cris(model, sample, concepts, masks=8, key=seed)
    first = len(compiled)
    attribution_curve(model, sample, concepts, ranked.order(), steps=2, repeats=1, key=seed)
    found.append({"concepts": len(concepts), "programs": first - begun, "curves": len(compiled) - first})
json.dump(found, sys.stdout)
"""


@pytest.mark.parametrize("proposals", ["tokens", "slic"])
def test_more_clips_and_other_concepts_compile_few_programs_and_equally_many_none(root, proposals):
    """Counted in a process of its own, whose earlier calls are known."""
    env = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", COUNTING, proposals]
    ran = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    first, same, one_more, many = json.loads(ran.stdout)
    assert first["programs"] > 10, "nothing is counted"
    assert len({found["concepts"] for found in (first, same, one_more, many)}) > 2, "the numbers of concepts are alike"
    assert same["programs"] == one_more["programs"] == 0
    assert many["programs"] <= (0 if proposals == "tokens" else 3), "tokens are as many for more clips"
    assert same["curves"] == one_more["curves"] == many["curves"] == 0
