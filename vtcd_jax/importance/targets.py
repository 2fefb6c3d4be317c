"""What each clip's score is about: a class for classifiers, a mask for trackers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import numpy as np

from vtcd_jax.data import Clips
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.models import InputError, Inputs, Model, Output, forward, nearest

Reference = Literal["true", "own"]
TRUE_MASKS = ("target_whole", "target")  # the whole target where it is known: a tracker follows what is hidden, too


@dataclass(frozen=True, eq=False)
class Targets:
    """label: int32 [video], the target class, -1 for none.
    mask: bool [video, time, height, width], what a tracker should give; None for other networks.
    origin: where the masks are from, in words.
    """

    label: np.ndarray
    mask: np.ndarray | None = None
    origin: str = ""

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> Targets:
        """The chosen clips' targets."""
        return Targets(self.label[rows], None if self.mask is None else self.mask[rows], self.origin)


def find_targets(
    model: Model, clips: Clips, *, target: str | int | None = None, reference: Reference = "true"
) -> Targets:
    """Each clip's target.

    target:    a class name or index for all clips; None takes each clip's own predicted class.
    reference: "true" takes the true mask where the clips have one, else the network's own; "own" always the mask that
               the untouched network gives.
    Raises InputError for an unknown class, with the nearest names.
    """
    if "query" in getattr(model.config, "needs", ()):
        return _mask_targets(model, clips, reference)
    if target is not None:
        return Targets(np.full(len(clips), class_index(model, target), np.int32))
    if not model.labels:
        return Targets(np.full(len(clips), -1, np.int32))
    return Targets(predict(model, clips).argmax(-1).astype(np.int32))


def _mask_targets(model: Model, clips: Clips, reference: Reference) -> Targets:
    nothing = np.full(len(clips), -1, np.int32)
    known = next((name for name in TRUE_MASKS if name in clips.masks), None)
    if reference == "true" and known is not None:
        return Targets(nothing, clips.masks[known], f"the true mask {known!r}")
    own = np.stack([_own_mask(model, clips, video) for video in range(len(clips))])
    for name, mask in zip(clips.names, own, strict=True):
        if not mask.any():
            raise InputError(f"{name}: the network finds nothing there, so no mask to score by; give another query")
    return Targets(nothing, own, "the network's own mask")


def _own_mask(model: Model, clips: Clips, video: int) -> np.ndarray:
    masks = _run(model, clip_inputs(model, clips, video)).masks
    assert masks is not None
    return np.asarray(masks)[0, ..., 0] > 0


def class_index(model: Model, target: str | int) -> int:
    """Raises InputError for an unknown class."""
    if not model.labels:
        raise InputError(f"model {model.name!r} has no classes, so --target {target!r} has no meaning; leave it out")
    if isinstance(target, int) or target.isdecimal():
        if int(target) < len(model.labels):
            return int(target)
        raise InputError(f"target class {target} is out of range; the model has {len(model.labels)} classes")
    lowered = [label.lower() for label in model.labels]
    if target.lower() not in lowered:
        raise InputError(f"unknown target class {target!r}; nearest: {nearest(target, model.labels)}")
    return lowered.index(target.lower())


def predict(model: Model, clips: Clips) -> np.ndarray:
    """float32 [video, class]: logits of whole clips, one at a time."""
    rows = [_run(model, clip_inputs(model, clips, video)).logits for video in range(len(clips))]
    return np.concatenate([np.asarray(row) for row in rows]).astype(np.float32)


@jax.jit
def _run(model: Model, inputs: Inputs) -> Output:
    return forward(model, inputs)[0]
