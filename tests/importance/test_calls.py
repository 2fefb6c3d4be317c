"""Calls side by side: results in order, no more of them at a time than cores, and an end when it is asked for."""

from __future__ import annotations

import threading
import time

import pytest

from vtcd_jax.concepts.heads import cores
from vtcd_jax.importance import make_mesh
from vtcd_jax.importance.calls import at_once, in_order


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_the_order_of_their_items(threads):
    def call(item: int) -> int:
        time.sleep(0.01 * (item % 3 == 0))
        return item**2

    assert list(in_order(call, range(10), threads)) == [(i, i**2) for i in range(10)]
    assert list(in_order(call, [], threads)) == []


def test_as_many_calls_as_threads_run_side_by_side():
    meeting = threading.Barrier(3, timeout=20)

    def call(item: int) -> int:
        return item if item == 0 else meeting.wait()  # the first one is alone, to compile

    assert [item for item, _ in in_order(call, range(7), 3)] == list(range(7))


@pytest.mark.parametrize("threads", [1, 2])
def test_once_stopped_nothing_begins_and_what_is_under_way_is_given(threads):
    begun, found = [], []

    def call(item: int) -> int:
        begun.append(item)
        return item

    for item, _ in in_order(call, range(100), threads, stop=lambda: len(found) >= 3):
        found.append(item)
    assert found == sorted(begun) == list(range(len(found))) and 3 <= len(found) <= 4 + threads


def test_what_is_not_wanted_is_not_begun():
    """Leaving the loop, or an error in a call, ends the others."""
    begun = []

    def call(item: int) -> int:
        begun.append(item)
        if item == 5:
            raise ValueError("five")
        return item

    for item, _ in in_order(call, range(100), 2):
        if item == 1:
            break
    assert len(begun) <= 5
    begun.clear()
    with pytest.raises(ValueError, match="five"):
        list(in_order(call, range(100), 2))
    assert len(begun) <= 10


def test_a_cpu_takes_a_call_per_core_and_a_mesh_one_after_the_other():
    assert at_once() == cores()
    assert at_once(make_mesh()) == 1
