"""The log says what share of the time the device waited for clips."""

from __future__ import annotations

import dataclasses
import time
from functools import partial

import jax
import numpy as np
import pytest

from tests.training.toy import SETTINGS, TASK, batch, loss
from vtcd_jax.runs import read_events
from vtcd_jax.training import Task, Workers, fit

pytestmark = pytest.mark.compile

SHORT = dataclasses.replace(SETTINGS, steps=16, evaluate_every=8, checkpoint_every=8)


def slow_loss(params, state, batch, step, keys):
    """A device that takes 30 ms a step."""
    value, metrics, state = loss(params, state, batch, step, keys)
    return value + jax.pure_callback(_zero_later, jax.ShapeDtypeStruct((), np.float32)), metrics, state


def _zero_later() -> np.float32:
    time.sleep(0.03)
    return np.float32(0)


def waiting_share(task: Task, folder, workers: Workers) -> float:
    """In the second half, after compilation."""
    fit(task, SHORT, folder, workers=workers)
    return [event for event in read_events(folder) if event["kind"] == "steps"][-1]["waiting_share"]


def test_slow_clips_keep_the_device_waiting_and_workers_mend_that(tmp_path):
    slow = partial(batch, slow=0.12)
    task = dataclasses.replace(TASK, batch=slow, loss=slow_loss)
    assert waiting_share(task, tmp_path / "one", Workers(1)) > 0.3  # 0.09 s of each 0.12
    assert waiting_share(task, tmp_path / "eight", Workers(8)) < 0.2
