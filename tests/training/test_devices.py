"""A training gives the same on one device and on eight, to rounding."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from tests.training.toy import SHORT, TASK
from vtcd_jax.models import InputError
from vtcd_jax.training import fit
from vtcd_jax.training.placing import check_devices

pytestmark = pytest.mark.compile


def test_eight_devices_train_as_one_does(root, tmp_path):
    """From the start, and from a checkpoint that one device has made."""
    alone = fit(TASK, SHORT, tmp_path / "alone")
    count = iter(range(100))
    fit(TASK, SHORT, tmp_path / "begun alone", stop=lambda: next(count) == 4)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    folders = [tmp_path / "eight", tmp_path / "begun alone"]
    command = [sys.executable, "-m", "tests.training.mesh_training", *map(str, folders)]
    subprocess.run(command, cwd=root, env=os.environ | {"XLA_FLAGS": flags}, check=True, timeout=120)
    expected = jax.tree.leaves((alone.params, alone.average, alone.state))
    for folder in folders:
        with np.load(f"{folder}.npz") as arrays:
            for array, leaf in zip(arrays.values(), expected, strict=True):
                np.testing.assert_allclose(array, leaf, atol=2e-6)


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(InputError, match="16 clips .* cannot be split over 3 devices"):
        check_devices(SHORT, 3)
