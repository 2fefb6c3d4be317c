"""Names of the blocks of a stage: each holds a hash of everything that its scores depend on, so that a run folder never
answers with the scores of other concepts, another query, target, design or model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.data import Clips
from vtcd_jax.importance.designs.random import Design
from vtcd_jax.scores.targets import Targets

from .engine import Task
from .gates import as_design, rows_of
from .inputs import donors
from .support import Support


@dataclass(frozen=True)
class Part:
    """The clips of a stage: where concepts lie in them and what their score is about."""

    clips: Clips
    support: Support
    targets: Targets


def block_names(stage: str, part: Part, design: Design, tasks: list[Task], passes: Mapping[str, Any]) -> list[str]:
    """``<stage>/<clip>-<row>-<key>`` of each task.

    passes: what all passes of the run share, JSON-able: model, mode, precision, scores.
    """
    design, present = as_design(design, part.support.concepts), part.support.present()
    common = json.dumps([passes, _filling(part.clips, passes.get("mode"))], sort_keys=True).encode()
    of_clip = {video: _clip_digest(part, video, common) for video in {task.video for task in tasks}}
    names = []
    for video, start, stop in tasks:
        clip = part.clips.hashes[video]
        gates = rows_of(design, clip, start, stop, present[video])
        key = hashlib.sha256(of_clip[video] + gates.tobytes()).hexdigest()
        names.append(f"{stage}/{clip[:16]}-{start:06d}-{key[:16]}")
    return names


def _filling(clips: Clips, mode: str | None) -> list[str]:
    """The other clips that scores depend on: all for their mean, or each one's donor."""
    if mode == "mean":
        return sorted(clips.hashes)
    return [clips.hashes[video] for video in donors(clips)] if mode == "resample" else []


def _clip_digest(part: Part, video: int, common: bytes) -> bytes:
    """SHA-256 of a clip, where concepts lie in it, and its target."""
    digest = hashlib.sha256(common + part.clips.hashes[video].encode())
    for kind, values in (("ids", part.support.ids), ("weight", part.support.weight)):
        for site in sorted(values):
            _add(digest, f"{kind}/{site}", values[site][video])
    _add(digest, "label", np.asarray(part.targets.label[video]))
    if part.targets.mask is not None:
        _add(digest, "mask", part.targets.mask[video])
    return digest.digest()


def _add(digest: Any, name: str, array: np.ndarray) -> None:
    digest.update(f"{name}{array.dtype.name}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
