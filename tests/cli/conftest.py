"""Two tiny models and one finished run, made once and only read by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.tiny import AUTOENCODER, FAST, save_model, vtcd


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """Folder of a classifier of clips of 8 frames and 24 x 24 pixels."""
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def autoencoder(tmp_path_factory) -> Path:
    """Folder of a network that reconstructs clips of the same size."""
    return save_model(tmp_path_factory.mktemp("models") / "tiny-autoencoder", AUTOENCODER)


@pytest.fixture(scope="session")
def job(model) -> tuple[object, ...]:
    """The arguments of the finished run, without ``--out``: eight clips, half of them held out."""
    return ("run", "world:8", "--model", model, "--hold-out", "0.5", *FAST)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, job) -> Path:
    """Its run folder."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    said = vtcd(*job, "--out", out)
    assert said.code == 0, said.err
    return out
