"""Warnings about the input reach the user as one line, and the run as an event and a table."""

from __future__ import annotations

import warnings

import pytest

from vtcd_jax.data.notices import InputWarning, SkippedClips, printed, recorded, warn
from vtcd_jax.pipeline.sources import log_warnings
from vtcd_jax.runs import open_run, read_csv, read_events


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


def test_a_run_lists_the_clips_that_were_skipped(tmp_path):
    with open_run(tmp_path / "run", {"settings": {}}) as run:
        log_warnings(run, [SkippedClips({"a.mp4": "too short", "b\\xff.mp4": "damaged"}, 9), InputWarning("x: one")])
    rows = read_csv(tmp_path / "run" / "skipped.csv")
    assert rows == [{"clip": "a.mp4", "reason": "too short"}, {"clip": "b\\xff.mp4", "reason": "damaged"}]
    texts = [event["text"] for event in read_events(tmp_path / "run") if event["kind"] == "warning"]
    assert texts == ["left out 2 of 9 clips that cannot be read: a.mp4, b\\xff.mp4", "x: one"]
