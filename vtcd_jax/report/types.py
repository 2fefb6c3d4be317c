"""The data of a report. All results are computed elsewhere; the report only arranges and draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.concepts import MaskOverlap
from vtcd_jax.concepts.types import Concepts
from vtcd_jax.data.clips import ClipSource
from vtcd_jax.importance import Control, Convergence, Curves, Importance, Interactions


@dataclass(frozen=True, eq=False)
class ShownClips:
    """Clips of a report.

    names, hashes: of all clips.  labels: class names, "" where unknown.
    frames: number of a clip -> uint8 [time, height, width, 3], for the clips that are shown.
    """

    names: tuple[str, ...]
    hashes: tuple[str, ...]
    labels: tuple[str, ...]
    frames: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, clips: ClipSource, labels: Sequence[str] = ()) -> ShownClips:
        """All clips of a set. labels: names of the classes."""
        names = tuple(str(labels[label]) if 0 <= label < len(labels) else "" for label in clips.labels)
        frames = {video: clips.read([video]).video[0] for video in range(len(clips))}
        return cls(clips.names, clips.hashes, names, frames)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(time, height, width) of a clip."""
        time, height, width, _ = next(iter(self.frames.values())).shape
        return time, height, width


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that the report shows.

    title:       heading of the page.
    model:       name of the network; description: one line on its family and sizes (``describe`` makes one).
    clips:       the clips of the ranking, in the order of ``concepts.video_names``, with the frames that are shown.
    concepts:    the concepts on those clips.
    importance:  one per score, on those clips; concepts are ranked by the first.
    p_null:      float64 [concept], p under the permutation null of the first score, corrected for all concepts; None
                 without one.
    target:      the explained class or mask; None for each clip's predicted class.
    seed:        of the whole run.
    curves:      removal curves; curves_note: on which clips they were drawn.
    controls:    groups that nothing was learned for, ranked and removed in the same way.
    convergence: rank correlation of independent halves of the masks, None with too few masks.
    layers:      layer -> mean normalised rank of its concepts, in [0, 1], in the order to draw them.
    overlaps:    overlaps of concepts with true masks; overlaps_note: on which clips, and how the control was drawn.
    interactions: of pairs of concepts, most significant first; None where the passes show none.
    baselines:   lines on the unmodified model, such as its accuracy on these clips.
    notes:       remarks on the reliability of the numbers.
    settings:    every setting of the run; nested mappings, JSON-able.
    versions:    package -> version.
    methods:     what the run rests on: keys of ``citations.ENTRIES``, or whole BibTeX entries.

    Raises InputError for results that do not belong together.
    """

    title: str
    model: str
    clips: ShownClips
    concepts: Concepts
    importance: tuple[Importance, ...]
    description: str = ""
    p_null: np.ndarray | None = None
    target: str | None = None
    seed: int = 0
    curves: Curves | None = None
    curves_note: str = ""
    controls: tuple[Control, ...] = ()
    convergence: Convergence | None = None
    layers: Mapping[Any, float] = field(default_factory=dict)
    overlaps: tuple[MaskOverlap, ...] = ()
    overlaps_note: str = ""
    interactions: Interactions | None = None
    baselines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ("vtcd", "convex-nmf", "slic")

    def __post_init__(self) -> None:
        if not self.importance:
            raise InputError("a report needs at least one importance, the one to rank by")
        if self.clips.names != self.concepts.video_names:
            raise InputError("the report's clips are not the clips of its concepts; pass the clips of the ranking")
        expected = (len(self.clips), len(self.concepts))
        for importance in self.importance:
            if importance.per_video.shape != expected:
                raise InputError(
                    f"importance of score {importance.score!r} is {list(importance.per_video.shape)} [video, concept],"
                    f" the concepts are {list(expected)}"
                )
        for row in self.overlaps:
            if not 0 <= row.concept < len(self.concepts):
                raise InputError(
                    f"overlap with {row.mask!r} has concept {row.concept}, but there are {len(self.concepts)}"
                )
