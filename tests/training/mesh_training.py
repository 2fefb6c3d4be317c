"""Trains the toy over the devices of this process, for ``test_devices.py``; the number of devices is fixed at start.

python -m tests.training.mesh_training FOLDER STEPS OUT    trains up to STEPS, and writes the parameters as OUT
"""

from __future__ import annotations

import sys

import jax
import numpy as np

from tests.training.toy import SETTINGS, TASK
from vtcd_jax.importance import make_mesh
from vtcd_jax.training import fit


def main(folder: str, steps: str, out: str) -> None:
    count = iter(range(1, 100))
    mesh = make_mesh(2, 4) if jax.device_count() == 8 else None
    trained = fit(TASK, SETTINGS, folder, mesh=mesh, stop=lambda: next(count) == int(steps))
    leaves = jax.tree.leaves((trained.params, trained.average, trained.state))
    np.savez(out, *[np.asarray(leaf) for leaf in leaves])


if __name__ == "__main__":
    main(*sys.argv[1:])
