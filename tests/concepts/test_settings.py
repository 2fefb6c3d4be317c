"""What "auto" stands for, and which settings exclude each other."""

from __future__ import annotations

import pytest

from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig
from vtcd_jax.concepts.settings import resolved
from vtcd_jax.models import InputError


@pytest.mark.parametrize(
    "slic, nmf, proposals, rule",
    [
        (SlicConfig(), NmfConfig(), "tokens", "knee"),
        (SlicConfig(), NmfConfig(assign="tubelets"), "slic", "released"),
        (SlicConfig(proposals="slic"), NmfConfig(), "slic", "released"),
        (SlicConfig(proposals="crops"), NmfConfig(), "crops", "released"),
        (SlicConfig(), NmfConfig(elbow=ElbowRule("paper")), "tokens", "paper"),
        (SlicConfig(), NmfConfig.released(), "slic", "released"),
        (SlicConfig(), NmfConfig.paper(), "slic", "paper"),
    ],
)
def test_single_tokens_with_the_knee_are_the_default_and_other_choices_are_kept(slic, nmf, proposals, rule):
    found = resolved(slic, nmf)
    assert (found[0].proposals, found[1].elbow.rule) == (proposals, rule)
    assert resolved(*found) == found


@pytest.mark.parametrize(
    "slic, nmf, message",
    [
        (SlicConfig(proposals="tokens"), NmfConfig(assign="tubelets"), "makes no tubelets"),
        (SlicConfig(), NmfConfig(elbow=ElbowRule(threshold=0.9)), "the rule 'knee' has none"),
        (SlicConfig(), NmfConfig(elbow=ElbowRule("fixed", threshold=0.9)), "the rule 'fixed' has none"),
        (SlicConfig(), NmfConfig(elbow=ElbowRule(take="before")), "only for nmf.elbow.rule 'released'"),
    ],
)
def test_what_would_be_left_out_in_silence_is_refused(slic, nmf, message):
    with pytest.raises(InputError, match=message):
        resolved(slic, nmf)
