"""ViCLIP computes what the published code computes: at every stored tap, output and intervention, in float32."""

from __future__ import annotations

import pytest

from .reference import EXACT
from .viclip_reference import REFERENCES


@pytest.mark.parametrize("name", REFERENCES)
def test_every_stored_value_is_reproduced(golden, tmp_path, name):
    """The first quantity that diverges is named."""
    errors = dict(REFERENCES[name](golden, tmp_path))
    assert len(errors) >= 12
    for quantity, error in errors.items():
        assert error <= EXACT, f"{quantity} diverges first: {error:.2e}"
