"""Clips in and out: video files and frame folders, and the synthetic world with ground truth.

Names are looked up on first use, so importing this package loads neither PyAV nor scikit-image.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtcd_jax.data import clips, encode, layout, read, sampling, video, world
    from vtcd_jax.data.clips import Clips
    from vtcd_jax.data.encode import write_video
    from vtcd_jax.data.layout import find_clips
    from vtcd_jax.data.read import read_clips
    from vtcd_jax.data.sampling import Sampling

_HOMES = {
    "Clips": "clips",
    "Sampling": "sampling",
    "find_clips": "layout",
    "read_clips": "read",
    "write_video": "encode",
}
_MODULES = ("clips", "encode", "layout", "read", "sampling", "video", "world")

__all__ = [
    "Clips", "Sampling", "clips", "encode", "find_clips", "layout", "read", "read_clips", "sampling", "video",
    "world", "write_video",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
