"""Settings of every test: shapes are checked, float32 is exact, and nothing is left behind.

Importing this module comes before any import of jax or of the library.
"""

from __future__ import annotations

import gc
import os
import tempfile
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# Tiny networks are compiled far longer than they run: half the time is saved by compiling without LLVM's optimisations,
# and of the rest more than half by the older code for fusions.
COMPILING = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *COMPILING))
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores: one thread of linear algebra each
    os.environ["XLA_FLAGS"] += " --xla_cpu_multi_thread_eigen=false"
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# Programs are compiled once for all workers and their processes; nothing goes into the user's cache.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _programs = tempfile.TemporaryDirectory(prefix="vtcd-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# Every function of the library with shapes in its annotations checks them when it is called.
install_import_hook("vtcd_jax", "shape_checker.check")

hypothesis.settings.register_profile("vtcd_jax", database=None, deadline=None, derandomize=True)
hypothesis.settings.load_profile("vtcd_jax")


MAPPED = Path("/proc/self/maps")  # where there is such a file
MOST_MAPPED = 20_000


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Every compiled program holds a few pieces of memory, of which Linux gives a process 65,530 and then ends it."""
    yield
    if MAPPED.is_file() and MAPPED.read_text().count("\n") > MOST_MAPPED:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the reference arrays."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real clips and large references beside the checkout; tests that need it skip without it."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder ../shared beside the checkout (real clips and large references)")
    return folder
