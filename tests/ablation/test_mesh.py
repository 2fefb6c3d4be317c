"""The same scores and slopes on one device, on many, and from several processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.compile

SCRIPT = Path(__file__).with_name("mesh_scores.py")


def run(out: Path, devices: int, *arguments: str) -> subprocess.Popen:
    """``mesh_scores.py`` in a process of its own that believes in ``devices`` CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(out), *arguments]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)


def finish(*processes: subprocess.Popen) -> None:
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-2000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> np.ndarray:
    """Scores and slopes [video, mask], one device without a mesh."""
    out = tmp_path_factory.mktemp("mesh") / "alone.npy"
    finish(run(out, 1))
    return np.load(out)


@pytest.mark.parametrize("devices, video, mask", [(2, 2, 1), (8, 2, 4)])
def test_scores_do_not_depend_on_the_number_of_devices(tmp_path, alone, devices, video, mask):
    """Odd numbers of masks and clips, so that rows and blocks are padded."""
    out = tmp_path / "many.npy"
    finish(run(out, devices, str(video), str(mask)))
    np.testing.assert_allclose(np.load(out), alone, atol=2e-6)


def test_two_processes_give_each_the_same_scores(tmp_path, alone):
    """``jax.distributed``: each process has two devices of a mesh of four, and ends with all scores."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    outs = [tmp_path / f"{i}.npy" for i in range(2)]
    finish(*(run(out, 2, "2", "2", address, str(i)) for i, out in enumerate(outs)))
    for out in outs:
        np.testing.assert_allclose(np.load(out), alone, atol=2e-6)
