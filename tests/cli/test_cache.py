"""What has been compiled once is found again by the next call."""

from __future__ import annotations

import os
import subprocess
import sys

COMPILE = """
import jax, jax.numpy as jnp
from vtcd_jax.cli.cache import keep_compilations
keep_compilations()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8))).block_until_ready()
"""


def test_compiled_programs_are_kept_in_the_users_cache(tmp_path):
    """A folder for each kind of processor; the second process adds nothing."""
    env = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    env |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": "true"}
    kept = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", COMPILE], env=env, check=True)
        kept.append(sorted(p.name for p in tmp_path.glob("vtcd_jax/*/*-cache")))
    assert kept[0] and kept[1] == kept[0]


def test_a_folder_that_jax_was_told_stays(tmp_path):
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"), "XDG_CACHE_HOME": str(tmp_path)}
    code = "import jax; from vtcd_jax.cli.cache import keep_compilations; keep_compilations()\n"
    said = subprocess.run(
        [sys.executable, "-c", code + "print(jax.config.jax_compilation_cache_dir)"],
        env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.strip() == str(tmp_path / "own")
