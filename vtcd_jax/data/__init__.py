"""Clips in and out: video files and frame folders, and the synthetic world with ground truth.

Names are looked up on first use, so importing this package loads neither PyAV nor scikit-image.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtcd_jax import world
    from vtcd_jax.data.clips import Clips
    from vtcd_jax.data.encode import write_video
    from vtcd_jax.data.inputs import clip_inputs
    from vtcd_jax.data.labels import read_labels
    from vtcd_jax.data.notices import InputWarning
    from vtcd_jax.data.query import with_query
    from vtcd_jax.data.read import read_clips
    from vtcd_jax.data.sampling import Sampling
    from vtcd_jax.data.sources import ClipSource, open_clips
    from vtcd_jax.world import captions as world_sentences

    from . import clips, encode, inputs, labels, notices, query, read, sampling, sources, tracking, video
    from .listing import layout
    from .listing.layout import find_clips

_HOMES = {
    "ClipSource": "sources",
    "Clips": "clips",
    "InputWarning": "notices",
    "Sampling": "sampling",
    "clip_inputs": "inputs",
    "find_clips": "layout",
    "open_clips": "sources",
    "read_clips": "read",
    "read_labels": "labels",
    "with_query": "query",
    "write_video": "encode",
}
_MODULES = (
    "clips", "encode", "inputs", "labels", "layout", "notices", "query", "read", "sampling", "sources", "tracking",
    "video", "world", "world_sentences",
)  # fmt: skip

__all__ = [
    "ClipSource", "Clips", "InputWarning", "Sampling", "clip_inputs", "clips", "encode", "find_clips", "inputs",
    "labels", "layout", "notices", "open_clips", "query", "read", "read_clips", "read_labels", "sampling", "sources",
    "tracking", "video", "with_query", "world", "world_sentences", "write_video",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
