"""What a report is made of. All results come in ready; the report only arranges and draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from vtcd_jax.concepts.types import Concepts
from vtcd_jax.data.clips import Clips
from vtcd_jax.importance.curves import Curves
from vtcd_jax.importance.estimation.convergence import Convergence
from vtcd_jax.importance.estimation.result import Importance
from vtcd_jax.models import InputError, Model, families


@dataclass(frozen=True)
class OverlapRow:
    """A concept beside a true mask, and the control, all measured on the same clips.

    mask:        name of the true mask, such as "target".
    concept:     index of the concept that was chosen for it, into ``ReportData.concepts``.
    miou:        mean IoU of the concept with the mask, in [0, 1]; se: its standard error, nan where unknown.
    random:      mean IoU of the best of as many random tubelet groups, chosen the same way (mean over draws).
    random_95:   the 95 % quantile of that over draws; nan where there was one draw.
    """

    mask: str
    concept: int
    miou: float
    random: float
    random_95: float = math.nan
    se: float = math.nan


@dataclass(frozen=True, eq=False)
class ControlCurve:
    """The curve of random groups of tubelets, most important first, beside the concepts' own.

    scores: float [step], mean over clips.  area: under it.  passed: whether it is worse than the concepts' beyond
    doubt. words:  what was done and what came out, a sentence or two.
    """

    scores: np.ndarray
    area: float
    passed: bool
    words: str


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that the report shows.

    title:       heading of the page.
    model:       name of the network; description: one line on its family and sizes (``describe`` makes one).
    clips:       the clips that were ranked on, in the order of ``concepts.video_names``.
    concepts:    the concepts on those clips.
    importance:  one per score, on those clips; the first is the one to rank by.
    target:      what was explained, a class or a mask; None where it was each clip's own predicted class.
    seed:        of the whole run.
    labels:      class names, for the labels of clips.
    curves:      removal curves; curves_note: on which clips they were drawn.
    control:     random groups beside them, at the same removals; None where there is no control.
    convergence: rank correlation of independent halves of the masks, None where there are too few.
    layers:      layer -> mean rank share of its concepts, in [0, 1], in the order to draw them.
    overlaps:    concepts beside true masks; overlaps_note: on which clips, and how the control was drawn.
    baselines:   lines on the untouched network, such as its accuracy on these clips.
    notes:       what a reader should know before trusting the numbers.
    settings:    every setting of the run; nested mappings, JSON-able.
    versions:    package -> version.
    methods:     citation keys of the methods that were used (``citations.ENTRIES``).

    Raises InputError where the parts do not belong together.
    """

    title: str
    model: str
    clips: Clips
    concepts: Concepts
    importance: tuple[Importance, ...]
    description: str = ""
    target: str | None = None
    seed: int = 0
    labels: tuple[str, ...] = ()
    curves: Curves | None = None
    curves_note: str = ""
    control: ControlCurve | None = None
    convergence: Convergence | None = None
    layers: Mapping[int | str, float] = field(default_factory=dict)
    overlaps: tuple[OverlapRow, ...] = ()
    overlaps_note: str = ""
    baselines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ("vtcd", "convex-nmf", "slic")

    def __post_init__(self) -> None:
        if not self.importance:
            raise InputError("a report needs at least one importance, the one to rank by")
        if self.clips.names != self.concepts.video_names:
            raise InputError("the report's clips are not the clips of its concepts; pass the clips that were ranked on")
        expected = (len(self.clips), len(self.concepts))
        for found in self.importance:
            if found.per_video.shape != expected:
                raise InputError(
                    f"importance of score {found.score!r} is {list(found.per_video.shape)} [video, concept],"
                    f" the concepts are {list(expected)}"
                )
        for row in self.overlaps:
            if not 0 <= row.concept < len(self.concepts):
                raise InputError(f"overlap with {row.mask!r} names concept {row.concept} of {len(self.concepts)}")


def describe(model: Model) -> str:
    """One line on a network: family, sizes, number of parameters."""
    config, clip = model.config, model.preprocessing
    known = families().get(config.family)
    parts = [known.title if known and known.title else config.family]
    sizes = (("width", "width {}"), ("depth", "depth {}"), ("num_heads", "{} heads"))
    parts += [text.format(getattr(config, name)) for name, text in sizes if hasattr(config, name)]
    parts.append(f"{clip.num_frames} × {clip.height} × {clip.width} clips")
    if hasattr(config, "tubelet_size") and hasattr(config, "patch_size"):
        parts.append(f"patches of {config.tubelet_size} × {config.patch_size} × {config.patch_size}")
    count = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(model.params))
    parts.append(f"{count / 1e6:.3g} M parameters")
    return " · ".join(parts)
