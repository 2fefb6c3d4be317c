"""Two tiny models, one finished run, and one ranking of many blocks; made once and only read by the tests."""

from __future__ import annotations

import shutil
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


@pytest.fixture(scope="session")
def long_job(model) -> tuple[object, ...]:
    """The arguments of a run whose ranking has 32 blocks, without command and ``--out``."""
    settings = (*FAST, "--masks", "512", "--scores", "logit")
    return ("world:4", "--model", model, "--hold-out", "0", *settings)


@pytest.fixture(scope="session")
def discovered(tmp_path_factory, long_job) -> Path:
    """Its run folder with concepts alone."""
    out = tmp_path_factory.mktemp("runs") / "discovered"
    said = vtcd("discover", *long_job, "--out", out)
    assert said.code == 0, said.err
    return out


@pytest.fixture(scope="session")
def ranked(tmp_path_factory, discovered) -> Path:
    """The same, ranked without interruption."""
    out = shutil.copytree(discovered, tmp_path_factory.mktemp("runs") / "ranked")
    said = vtcd("rank", out)
    assert said.code == 0, said.err
    return out
