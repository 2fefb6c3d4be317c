"""Memory does not grow with the number of clips."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from vtcd_jax import features
from vtcd_jax.devices.dispatch import max_in_flight

from .conftest import clips_for

pytestmark = pytest.mark.compile

ROWS = np.ones((2, 1, 1, 1, 2, 4), np.float32)
KINDS = {
    "capture": lambda model, clips: features.capture_blocks(model, clips, "embed"),
    "gradient": lambda model, clips: features.gradient_blocks(model, clips, "logit", "embed"),
    "between": lambda model, clips: features.between_blocks(model, clips, "embed", "block_0/attn/key", ROWS),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_arrays_on_the_device_are_those_of_the_clips_under_way(model, kind):
    """Counted after every clip: pixels and values of as many clips as run side by side, whatever their number."""
    held = max_in_flight() + 2
    clips = clips_for(model, 8 * held)
    normalised = 4 * clips.video[0].size
    before = sum(array.nbytes for array in jax.live_arrays())
    peak = 0
    for _ in KINDS[kind](model, clips):
        peak = max(peak, sum(array.nbytes for array in jax.live_arrays()) - before)
    assert normalised <= peak <= held * 2.5 * normalised + 2**14
