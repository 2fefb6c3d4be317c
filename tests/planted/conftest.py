"""The network and a set of clips, made once and only read by the tests."""

from __future__ import annotations

import pytest

from vtcd_jax import planted
from vtcd_jax.data import Clips
from vtcd_jax.models import Model


@pytest.fixture(scope="session")
def network() -> Model:
    return planted.model()


@pytest.fixture(scope="session")
def clips() -> Clips:
    """Two of each class."""
    return planted.clips(8, seed=3)


@pytest.fixture(scope="session")
def instance() -> planted.Instance:
    """A network of version 2 and four of its clips."""
    return planted.instance(7, 4)


@pytest.fixture(scope="session")
def circuits(instance: planted.Instance) -> Model:
    """The network of ``instance``, with noise."""
    return instance.model(0.5)
