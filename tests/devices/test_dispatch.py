"""Calls side by side: results in order, one compilation, and an end when nothing more is wanted."""

from __future__ import annotations

import threading
import time

import jax
import numpy as np
import pytest

from vtcd_jax.devices.cpu import cores
from vtcd_jax.devices.dispatch import map_ordered, max_in_flight
from vtcd_jax.devices.mesh import make_mesh


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_the_order_of_their_items(threads):
    def call(item: int) -> int:
        time.sleep(0.01 * (item % 3 == 0))
        return item**2

    assert list(map_ordered(call, range(10), threads)) == [(i, i**2) for i in range(10)]
    assert list(map_ordered(call, [], threads)) == []


def test_as_many_calls_as_threads_run_side_by_side():
    meeting = threading.Barrier(3, timeout=20)

    def call(item: int) -> int:
        return meeting.wait()

    assert [item for item, _ in map_ordered(call, range(6), 3)] == list(range(6))


def test_calls_side_by_side_compile_once():
    compiled = []

    def listen(name: str, seconds: float, **_: str | int) -> None:
        compiled.append(name)

    call = jax.jit(lambda x: jax.numpy.sin(x @ x) @ x)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        found = [y for _, y in map_ordered(lambda _: call(np.ones((7, 7), np.float32)), range(8), 4)]
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(found) == 8 and sum(name.endswith("backend_compile_duration") for name in compiled) == 1


def test_what_is_not_wanted_is_not_begun():
    """Leaving the loop, or an error in a call, ends the others."""
    begun = []

    def call(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise ValueError("five")
        return item

    for item, _ in map_ordered(call, range(100), 2):
        if item == 1:
            break
    assert len(begun) <= 5
    begun.clear()
    with pytest.raises(ValueError, match="five"):
        list(map_ordered(call, range(100), 2))
    assert len(begun) <= 10


def test_a_cpu_takes_a_call_per_core_and_a_mesh_one_after_the_other():
    assert max_in_flight() == cores()
    assert max_in_flight(make_mesh()) == 1
