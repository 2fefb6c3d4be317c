"""What each clip's score is about: a class for classifiers, a mask for trackers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, SupportsIndex

import jax
import numpy as np

from vtcd_jax.data import Clips
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.models import InputError, Inputs, Model, Output, forward, nearest, output_shapes

Reference = Literal["true", "own"]
Class = str | SupportsIndex
"""A class by name or by index, of any integer type but a truth value."""
TRUE_MASKS = ("target_whole", "target")  # the whole target where it is known: a tracker follows what is hidden, too


@dataclass(frozen=True, eq=False)
class Targets:
    """label: int32 [video], the target class, -1 for none.
    mask: bool [video, time, height, width], what a tracker should give; None for other networks.
    origin: where the masks are from, in words.
    hashes: of the clips, as ``Clips.hashes``, so that other clips are refused; empty where they are not known.
    """

    label: np.ndarray
    mask: np.ndarray | None = None
    origin: str = ""
    hashes: tuple[str, ...] = ()

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> Targets:
        """The chosen clips' targets."""
        hashes = tuple(self.hashes[i] for i in np.arange(len(self.hashes))[list(rows)]) if self.hashes else ()
        return Targets(self.label[rows], None if self.mask is None else self.mask[rows], self.origin, hashes)


def find_targets(model: Model, clips: Clips, *, target: Class | None = None, reference: Reference = "true") -> Targets:
    """Each clip's target.

    target:    a class name or index for all clips; None takes each clip's own predicted class.
    reference: "true" takes the true mask where the clips have one, else the network's own; "own" always the mask that
               the untouched network gives.
    Raises InputError for an unknown class, with the nearest names, and for a class where the network has none.
    """
    if target is not None:
        return _labelled(clips, np.full(len(clips), class_index(model, target)))
    if follows_query(model):
        return _mask_targets(model, clips, reference)
    if not class_count(model):
        return _labelled(clips, np.full(len(clips), -1))
    return _labelled(clips, predict(model, clips).argmax(-1))


def _labelled(clips: Clips, label: np.ndarray) -> Targets:
    return Targets(label.astype(np.int32), hashes=clips.hashes)


def _mask_targets(model: Model, clips: Clips, reference: Reference) -> Targets:
    nothing = np.full(len(clips), -1, np.int32)
    known = next((name for name in TRUE_MASKS if name in clips.masks), None)
    if reference == "true" and known is not None:
        return Targets(nothing, clips.masks[known], f"the true mask {known!r}", clips.hashes)
    own = np.stack([_own_mask(model, clips, video) for video in range(len(clips))])
    for name, mask in zip(clips.names, own, strict=True):
        if not mask.any():
            raise InputError(f"{name}: the network finds nothing there, so no mask to score by; give another query")
    return Targets(nothing, own, "the network's own mask", clips.hashes)


def check_targets(model: Model, clips: Clips, targets: Targets) -> None:
    """Raises InputError for targets of other clips, and for a clip whose class the network does not have."""
    check_same_clips("targets", targets.hashes, clips, "use `find_targets` on these clips")
    classes, label = class_count(model), np.asarray(targets.label)
    if not classes:
        return
    for name, number in zip(clips.names, label, strict=True):
        if not 0 <= number < classes:
            fault = "has no label (-1)" if number == -1 else f"has label {number}, and the model has {classes} classes"
            raise InputError(
                f"clip {name!r} {fault}: label every clip, or give targets=find_targets(model, clips), which takes the "
                "predicted class, or one class for all with target="
            )


def _own_mask(model: Model, clips: Clips, video: int) -> np.ndarray:
    masks = _run(model, clip_inputs(model, clips, video)).masks
    assert masks is not None
    return np.asarray(masks)[0, ..., 0] > 0


def follows_query(model: Model) -> bool:
    """Whether the network is a tracker, which follows what a query mask shows."""
    return "query" in getattr(model.config, "needs", ())


def class_count(model: Model) -> int:
    """Classes that the network tells apart; 0 where it has none."""
    if follows_query(model):
        return 0
    if model.labels:
        return len(model.labels)
    logits = output_shapes(model).logits
    return 0 if logits is None else logits.shape[-1]


def class_index(model: Model, target: Class) -> int:
    """The class of a name, ignoring case, or of an index (any integer type). Raises InputError for an unknown one."""
    classes = class_count(model)
    if not classes:
        raise InputError(f"model {model.name!r} has no classes, so --target {target!r} has no meaning; leave it out")
    number = int(target) if isinstance(target, str) and target.isdecimal() else _integer(target)
    if number is not None:
        if 0 <= number < classes:
            return number
        raise InputError(f"target class {target} is out of range; the model has {classes} classes, from 0")
    if not isinstance(target, str):
        raise InputError(f"target {target!r} is no class; give a class name, or its index as a whole number")
    lowered = [label.lower() for label in model.labels]
    if target.lower() not in lowered:
        known = f"nearest: {nearest(target, model.labels)}" if lowered else "the classes have no names; give an index"
        raise InputError(f"unknown target class {target!r}; {known}")
    return lowered.index(target.lower())


def _integer(value: object) -> int | None:
    """Of any integer type; None for all else, truth values among it."""
    try:
        return None if isinstance(value, (bool, np.bool_)) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def predict(model: Model, clips: Clips) -> np.ndarray:
    """float32 [video, class]: logits of whole clips, one at a time."""
    rows = [_run(model, clip_inputs(model, clips, video)).logits for video in range(len(clips))]
    return np.concatenate([np.asarray(row) for row in rows]).astype(np.float32)


@jax.jit
def _run(model: Model, inputs: Inputs) -> Output:
    return forward(model, inputs)[0]
