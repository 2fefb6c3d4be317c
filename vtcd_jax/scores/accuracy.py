"""Accuracy of a classifier on the user's clips: a sanity check of a converted checkpoint.

Clips are read one at a time, so any number of them fits in memory.
Interval: Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.data import find_clips
from vtcd_jax.data.listing.search import Source
from vtcd_jax.data.read import labels_of, read_source
from vtcd_jax.data.sampling import Sampling
from vtcd_jax.models import InputError, Inputs, Model, forward

Z = 1.959964  # quantile of the normal distribution for 95 % intervals
SHOWN = 10


@dataclass(frozen=True)
class Misclassified:
    """A clip whose class is not the most probable one. rank: rank of its class, from 1 for the most probable."""

    clip: str
    label: str
    predicted: str
    rank: int


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on labelled clips.

    clips:      number of clips with a label.
    unlabelled: number of clips without one, which are left out.
    top1, top5: number of clips whose class is the most probable, or among the five most probable.
    wrong:      the clips that ``top1`` misses.
    """

    clips: int
    unlabelled: int
    top1: int
    top5: int
    wrong: tuple[Misclassified, ...]

    def lines(self) -> list[str]:
        """Lines of text: a line per accuracy, and the misclassified clips if they are few."""
        left_out = f", {self.unlabelled} without a label left out" if self.unlabelled else ""
        lines = [f"checked on {self.clips} clip{'' if self.clips == 1 else 's'}{left_out}"]
        for name, right in (("top-1", self.top1), ("top-5", self.top5)):
            low, high = wilson(right, self.clips)
            lines.append(f"{name} accuracy {right / self.clips:.1%} (95 % interval {low:.1%} to {high:.1%})")
        if len(self.wrong) <= SHOWN:
            lines += [f"wrong: {w.clip} is {w.label!r}, taken for {w.predicted!r} (rank {w.rank})" for w in self.wrong]
        return lines


def wilson(right: int, of: int, z: float = Z) -> tuple[float, float]:
    """95 % interval of the fraction ``right / of``."""
    fraction, width = right / of, z * z / of
    middle = (fraction + width / 2) / (1 + width)
    half = z * math.sqrt((fraction * (1 - fraction) + width / 4) / of) / (1 + width)
    return max(0.0, middle - half), min(1.0, middle + half)


def check_accuracy(
    model: Model,
    clips: str | os.PathLike,
    labels: str | os.PathLike,
    *,
    sampling: Sampling | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> Accuracy:
    """Runs a classifier on every labelled clip.

    clips:   a video file or a folder, as for ``read_clips``.
    labels:  a file of labels (``vtcd_jax.data.listing.labels``).
    on_clip: called with (clips done, clips in all).
    Raises InputError for a network without classes, clips that cannot be read, and labels that name none of them.
    """
    if not model.labels:
        raise InputError(f"{model.name} has no classes, so its accuracy cannot be measured; leave --check out")
    sources = labelled(clips, labels, model)
    run = jax.jit(lambda m, video: forward(m, Inputs(video))[0].logits)
    top1, top5, wrong = 0, 0, []
    chosen = [(source, label) for source, label in sources if label >= 0]
    for i, (source, label) in enumerate(chosen):
        video = read_source(source, sampling or Sampling(), model.preprocessing).video[None]
        logits = np.asarray(run(model, model.preprocessing.normalise(video)))[0]
        rank = 1 + int(np.sum(logits > logits[label]))
        top1, top5 = top1 + (rank == 1), top5 + (rank <= 5)
        if rank > 1:
            wrong.append(Misclassified(source.name, model.labels[label], model.labels[int(logits.argmax())], rank))
        if on_clip:
            on_clip(i + 1, len(chosen))
    return Accuracy(len(chosen), len(sources) - len(chosen), top1, top5, tuple(wrong))


def labelled(clips: str | os.PathLike, labels: str | os.PathLike, model: Model) -> list[tuple[Source, int]]:
    """(clip, class, -1 where it has none). Raises InputError for unknown classes, and where no clip has a label."""
    sources = find_clips(clips, images=model.preprocessing.num_frames == 1)
    return list(zip(sources, labels_of(sources, model, labels, None), strict=True))
