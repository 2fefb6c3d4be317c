"""Scores and slopes of a tiny classifier over a mesh, for ``test_mesh.py``; a process of its own, for its devices.

python mesh_scores.py OUT [VIDEO MASK [COORDINATOR PROCESS]]
"""

from __future__ import annotations

import sys

import jax
import numpy as np


def main(out: str, video: str = "", mask: str = "", coordinator: str = "", process: str = "") -> None:
    if coordinator:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(coordinator, 2, int(process))
    from vtcd_jax import models
    from vtcd_jax.data import Clips
    from vtcd_jax.importance import Hadamard, Slopes, Support, make_mesh, scores, slopes
    from vtcd_jax.models.families import videomae

    sizes = {"image_size": 16, "patch_size": 8, "num_frames": 2, "width": 8, "depth": 1, "num_heads": 2}
    model = models.build(videomae.VideoMAEConfig(num_classes=3, **sizes), key=jax.random.key(3))
    rng = np.random.default_rng(0)
    clips = Clips.make(rng.integers(0, 256, (3, 2, 16, 16, 3), np.uint8), ["a", "b", "c"], labels=[0, 1, 2])
    ids = rng.integers(-1, 5, (3, 1, 2, 2, 2, 1)).astype(np.int32)
    mesh = make_mesh(int(video), int(mask)) if video else None
    design = Hadamard(jax.random.key(1), 73)
    support = Support({"block_0/attn/key": ids}, 5)
    asked = {"score": "logit", "mesh": mesh, "chunk": 2}
    found = scores(model, clips, support, design, **asked)["logit"]
    along = slopes(model, clips, support, Slopes(jax.random.key(2), 13), **asked)["logit"]
    np.save(out, np.concatenate([found, along.reshape(3, -1)], axis=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
