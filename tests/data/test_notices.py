"""Warnings about the input reach the user as one line."""

from __future__ import annotations

import warnings

import pytest

from vtcd_jax.data.notices import InputWarning, printed, recorded, warn


def test_every_warning_is_printed_in_one_line_and_others_go_their_usual_way():
    lines: list[str] = []
    with pytest.warns(DeprecationWarning, match="old"), printed(lines.append):
        for _ in range(2):
            warn(InputWarning("first\nsecond"))
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines == ["first second"] * 2


def test_recorded_warnings_are_issued_too():
    with pytest.warns(InputWarning, match="left"), recorded() as caught:
        warn(InputWarning("left"))
    assert [str(each) for each in caught] == ["left"]
