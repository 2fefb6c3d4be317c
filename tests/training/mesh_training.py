"""Trains the toy over eight devices, for ``test_devices.py``; the number of devices is fixed when a process starts.

python -m tests.training.mesh_training FOLDER...    trains into each folder, and writes the arrays as FOLDER.npz
"""

from __future__ import annotations

import sys

import jax
import numpy as np

from tests.training.toy import SHORT, TASK
from vtcd_jax.devices.mesh import make_mesh
from vtcd_jax.training import fit


def main(folders: list[str]) -> None:
    mesh = make_mesh(2, 4)
    for folder in folders:
        trained = fit(TASK, SHORT, folder, mesh=mesh)
        leaves = jax.tree.leaves((trained.params, trained.average, trained.state))
        np.savez(f"{folder}.npz", *[np.asarray(leaf) for leaf in leaves])


if __name__ == "__main__":
    main(sys.argv[1:])
