"""Damaged files: whatever is done to their bytes, reading ends soon, in values or in an ``InputError``."""

from __future__ import annotations

import dataclasses
import functools
import tracemalloc

import numpy as np
import pytest

from tests.converters.files.mutations import Fate, Subject, fate, mutate, subjects, truncations
from vtcd_jax.converters.files.containers import open_checkpoint
from vtcd_jax.converters.layouts import recognise
from vtcd_jax.models import building

pytestmark = pytest.mark.compile

SHARE = 4  # of every kind of file; scripts/fuzz_converters.py makes thousands


@pytest.fixture(scope="module")
def damaged(golden, tmp_path_factory) -> list[Subject]:
    return subjects(golden, tmp_path_factory.mktemp("fuzz"))


@pytest.fixture(scope="module", autouse=True)
def traced():
    """Memory is counted; networks of the same sizes are traced once."""
    tracemalloc.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "param_shapes", functools.lru_cache(building.param_shapes))
        yield
    tracemalloc.stop()


def assert_well(subject: Subject, fates: list[Fate]) -> None:
    assert [f.outcome for f in fates if f.outcome not in ("accepted", "refused")] == [], subject.name
    assert max(f.seconds for f in fates) < 20, subject.name
    assert max(f.peak_bytes for f in fates) < 64 * 2**20, subject.name


def mutated(subject: Subject, rng: np.random.Generator, count: int) -> list[str]:
    """What becomes of ``count`` damaged copies."""
    whole = subject.path.read_bytes()
    fates = [fate(subject, mutate(whole, rng, subject.structured)) for _ in range(count)]
    subject.path.write_bytes(whole)
    assert_well(subject, fates)
    return [found.outcome for found in fates]


def test_whatever_a_conversion_reads_may_be_damaged(damaged):
    rng = np.random.default_rng(20)
    assert {name for s in damaged for name in mutated(s, rng, SHARE)} == {"accepted", "refused"}


@pytest.mark.parametrize("name", ["videomae_ft.safetensors", "videomae_ft.pth"])
def test_mutated_tensors_are_read_or_refused(damaged, name):
    """Up to the values, which takes no network, so that there can be many."""
    (subject,) = [s for s in damaged if s.name == name]

    def read() -> None:
        state = recognise(open_checkpoint(subject.path))
        for tensor in state.tensors.values():
            tensor.read()

    outcomes = mutated(dataclasses.replace(subject, read=read), np.random.default_rng(21), 250)
    assert min(outcomes.count("accepted"), outcomes.count("refused")) > 10


@pytest.mark.parametrize("name", ["videomae_ft.safetensors", "videomae_ft.pth", "io.npz", "packed.npz"])
def test_files_cut_at_every_fiftieth_of_their_length_are_refused(damaged, name):
    (subject,) = [s for s in damaged if s.name == name]
    whole = subject.path.read_bytes()
    fates = [fate(subject, data) for data in truncations(whole)]
    subject.path.write_bytes(whole)
    assert {found.outcome for found in fates} == {"refused"}
    assert_well(subject, fates)
