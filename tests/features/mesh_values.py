"""Values and derivatives of a tiny classifier without and with a mesh, for ``test_mesh.py``; a process of its own,
since devices are made at start.

python mesh_values.py OUT
"""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np


def main(out: str) -> None:
    from vtcd_jax import features, models
    from vtcd_jax.data import Clips
    from vtcd_jax.devices.mesh import make_mesh
    from vtcd_jax.models.families import videomae

    sizes = {"image_size": 16, "patch_size": 8, "num_frames": 2, "width": 8, "depth": 1, "num_heads": 2}
    config, rng = videomae.VideoMAEConfig(num_classes=3, **sizes), np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(0, 0.3, s.shape), jnp.float32), models.param_shapes(config))
    model = models.build(config, params=params)
    clips = Clips.make(rng.integers(0, 256, (3, 2, 16, 16, 3), np.uint8), ["a", "b", "c"])
    rows = rng.normal(size=(3, 2, 1, 1, 1, 8)).astype(np.float32)
    sites, results = ("embed", "block_0/attn/key"), {}
    for name, mesh in (("alone", None), ("mesh", make_mesh(video=2))):
        results[f"{name}/capture"] = features.capture(model, clips, sites, mesh=mesh)
        results[f"{name}/gradient"] = features.gradient(model, clips, "logit", sites, mesh=mesh)
        results[f"{name}/between"] = features.between(model, clips, sites, "block_0/resid_post", rows, mesh=mesh)
    np.savez(out, **{f"{kind}/{site}": found[site] for kind, found in results.items() for site in sites})


if __name__ == "__main__":
    main(*sys.argv[1:])
