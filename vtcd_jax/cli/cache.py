"""The compilation cache: compiled passes are stored between calls of ``vtcd``, in the user's cache folder.

JAX's own settings take precedence: ``JAX_COMPILATION_CACHE_DIR`` names another folder,
``JAX_ENABLE_COMPILATION_CACHE=false`` disables the cache. A compiled program belongs to one kind of processor, so each
kind has its own folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


def keep_compilations() -> None:
    """Switches the cache on; call it before anything is compiled."""
    import jax

    if getattr(jax.config, "jax_compilation_cache_dir") is None:  # noqa: B009 (pyright does not know it)
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))


def cache_folder() -> Path:
    """The cache folder for this kind of processor, below XDG_CACHE_HOME or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    base = Path(home) if home else Path.home() / ".cache"
    return base / "vtcd_jax" / hashlib.sha256(_processor().encode()).hexdigest()[:16]


def _processor() -> str:
    """The processor: architecture, model and instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    features = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return "\n".join([platform.machine(), *features])
