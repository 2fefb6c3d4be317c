"""The same values and derivatives on one device and on many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.compile

SCRIPT = Path(__file__).with_name("mesh_values.py")


def test_results_do_not_depend_on_the_number_of_devices(tmp_path):
    """Eight CPU devices, in a process of its own: a mesh of two places with four devices each. Of three clips the last
    call is padded."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    env = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(tmp_path / "found.npz")]
    process = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    found = np.load(tmp_path / "found.npz")
    names = [name.removeprefix("alone/") for name in found.files if name.startswith("alone/")]
    assert len(names) == 6
    for name in names:
        assert np.abs(found[f"alone/{name}"]).max() > 1e-4
        np.testing.assert_allclose(found[f"mesh/{name}"], found[f"alone/{name}"], rtol=1e-5, atol=1e-5)
