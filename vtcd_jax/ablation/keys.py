"""Names of the blocks of a step. Each name holds a hash of everything that the scores depend on, so that scores of
other concepts, or of another query, target, design or model, are never taken for these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vtcd_jax.ablation.design import Design
from vtcd_jax.data import ClipSource
from vtcd_jax.scores.targets import Targets

from .engine import Task
from .gates import as_design, rows_of
from .inputs import donors
from .support import Support


@dataclass(frozen=True)
class Question:
    """The clips of a call, the tokens of their concepts, and their targets."""

    clips: ClipSource
    support: Support
    targets: Targets


def block_names(
    step: str, question: Question, design: Design, tasks: list[Task], passes: Mapping[str, Any]
) -> list[str]:
    """``<step>/<clip>-<row>-<key>`` of each task.

    passes: settings of all passes of the run, JSON-able: model, mode, precision, scores.
    """
    design, present = as_design(design, question.support.concepts), question.support.present()
    common = json.dumps([passes, _filling(question.clips, passes.get("mode"))], sort_keys=True).encode()
    of_clip = {video: _clip_digest(question, video, common) for video in {task.video for task in tasks}}
    names = []
    for video, start, stop in tasks:
        clip = question.clips.hashes[video]
        gates = rows_of(design, question.support, clip, start, stop, present[video])
        key = hashlib.sha256(of_clip[video] + gates.tobytes()).hexdigest()
        names.append(f"{step}/{clip[:16]}-{start:06d}-{key[:16]}")
    return names


def _filling(clips: ClipSource, mode: str | None) -> list[str]:
    """The other clips that scores depend on: all for their mean, or each one's donor."""
    if mode == "mean":
        return sorted(clips.hashes)
    return [clips.hashes[video] for video in donors(clips)] if mode == "resample" else []


def _clip_digest(question: Question, video: int, common: bytes) -> bytes:
    """SHA-256 of a clip, the tokens of its concepts, and its target."""
    digest = hashlib.sha256(common + question.clips.hashes[video].encode())
    for kind, values in (("ids", question.support.ids), ("weight", question.support.weight)):
        for site in sorted(values):
            _add(digest, f"{kind}/{site}", values[site][video])
    _add(digest, "label", np.asarray(question.targets.label[video]))
    if question.targets.mask is not None:
        _add(digest, "mask", question.targets.mask[video])
    return digest.digest()


def _add(digest: Any, name: str, array: np.ndarray) -> None:
    digest.update(f"{name}{array.dtype.name}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
