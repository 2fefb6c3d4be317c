"""Targets of scores: a class for each clip of a classifier, a mask for each clip of a tracker."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, SupportsIndex

import jax
import numpy as np

from vtcd_jax.data import ClipSource
from vtcd_jax.data.inputs import clip_inputs
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.models import InputError, Inputs, Model, Output, family_of, forward, nearest, output_shapes

Reference = Literal["true", "own"]
Class = str | SupportsIndex
"""A class by name or by index, of any integer type except booleans."""
TRUE_MASKS = ("target_whole", "target")  # the whole target if it is known, because a tracker follows hidden parts too


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of the clips.

    label:  int32 [video], the target class, -1 for none.
    mask:   bool [video, time, height, width], the target mask of a tracker; None for other networks.
    origin: the source of the masks, as text.
    hashes: of the clips, as ``Clips.hashes``, so that other clips are refused; empty where they are unknown.
    """

    label: np.ndarray
    mask: np.ndarray | None = None
    origin: str = ""
    hashes: tuple[str, ...] = ()

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> Targets:
        """The chosen clips' targets."""
        hashes = tuple(self.hashes[i] for i in np.arange(len(self.hashes))[list(rows)]) if self.hashes else ()
        return Targets(self.label[rows], None if self.mask is None else self.mask[rows], self.origin, hashes)


def find_targets(
    model: Model, clips: ClipSource, *, target: Class | None = None, reference: Reference = "true"
) -> Targets:
    """Each clip's target.

    target:    a class name or index for all clips; None: each clip's predicted class.
    reference: "true": the true mask if the clips have one, else the mask predicted by the unmodified model; "own":
               always the predicted mask.
    Raises InputError for an unknown class, with the nearest names, and for a class if the network has none.
    """
    if target is not None:
        return _labelled(clips, np.full(len(clips), class_index(model, target)))
    if follows_query(model):
        return _mask_targets(model, clips, reference)
    if not class_count(model):
        return _labelled(clips, np.full(len(clips), -1))
    return _labelled(clips, predict(model, clips).argmax(-1))


def _labelled(clips: ClipSource, label: np.ndarray) -> Targets:
    return Targets(label.astype(np.int32), hashes=clips.hashes)


def _mask_targets(model: Model, clips: ClipSource, reference: Reference) -> Targets:
    nothing = np.full(len(clips), -1, np.int32)
    true_mask = next((name for name in TRUE_MASKS if name in clips.mask_names), None)
    if reference == "true" and true_mask is not None:
        masks = np.concatenate([clips.read([video]).masks[true_mask] for video in range(len(clips))])
        return Targets(nothing, masks, f"the true mask {true_mask!r}", clips.hashes)
    predicted = np.stack([_predicted_mask(model, clips, video) for video in range(len(clips))])
    for name, mask in zip(clips.names, predicted, strict=True):
        if not mask.any():
            raise InputError(f"{name}: the network predicts an empty mask, which cannot be scored; give another query")
    return Targets(nothing, predicted, "the network's own mask", clips.hashes)


def check_targets(model: Model, clips: ClipSource, targets: Targets) -> None:
    """Raises InputError for targets of other clips, and for a clip whose class is not one of the network's."""
    check_same_clips("targets", targets.hashes, clips, "use `find_targets` on these clips")
    classes, label = class_count(model), np.asarray(targets.label)
    if not classes:
        return
    for name, number in zip(clips.names, label, strict=True):
        if not 0 <= number < classes:
            problem = (
                "has no label (-1)" if number == -1 else f"has label {number}, but the model has {classes} classes"
            )
            raise InputError(
                f"clip {name!r} {problem}: label every clip, or give targets=find_targets(model, clips) for the "
                "predicted classes, or one class for all with target="
            )


def _predicted_mask(model: Model, clips: ClipSource, video: int) -> np.ndarray:
    masks = _run(model, clip_inputs(model, clips, video)).masks
    assert masks is not None
    return np.asarray(masks)[0, ..., 0] > 0


def follows_query(model: Model) -> bool:
    """Whether the network is a tracker, which follows what a query mask shows."""
    return "query" in family_of(model).needs


def class_count(model: Model) -> int:
    """Number of classes; 0 for a network without classes."""
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
        hint = f"nearest: {nearest(target, model.labels)}" if lowered else "the classes have no names; give an index"
        raise InputError(f"unknown target class {target!r}; {hint}")
    return lowered.index(target.lower())


def _integer(value: object) -> int | None:
    """A value of any integer type as int; None for others, booleans included."""
    try:
        return None if isinstance(value, (bool, np.bool_)) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def misclassified(model: Model, clips: ClipSource, targets: Targets) -> tuple[str, ...]:
    """Names of the clips that the unmodified model classifies wrongly, by their label, else by the target.

    Empty for networks without classes.
    """
    expected = np.where(clips.labels >= 0, clips.labels, targets.label)
    if not model.labels or (expected < 0).all():
        return ()
    predicted = predict(model, clips).argmax(-1)
    return tuple(name for name, e, p in zip(clips.names, expected, predicted, strict=True) if 0 <= e != p)


def predict(model: Model, clips: ClipSource) -> np.ndarray:
    """float32 [video, class]: logits of whole clips, one at a time."""
    rows = [_run(model, clip_inputs(model, clips, video)).logits for video in range(len(clips))]
    return np.concatenate([np.asarray(row) for row in rows]).astype(np.float32)


@jax.jit
def _run(model: Model, inputs: Inputs) -> Output:
    return forward(model, inputs)[0]
