"""Methods as functions of arrays, for any framework: features in, numbers of concepts out.

    fit(features, video, seed) -> label        label(features, video) -> ids

    features  site -> float32 [video, time, height, width, head, channel], the keys of every head
    video     uint8 [video, frame, row, column, 3]
    ids       site -> int [video, time, height, width, head], the number of each token's concept, -1 for none; or with
              a last axis [slot], where a token may have several (the nodes of a tree, for example)

``fit`` sees the first half of the clips. ``label`` is called on the first half, then on the other. Numbers are over all
sites and heads together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import numpy as np

from vtcd_jax.concepts import Concepts, concept_sites
from vtcd_jax.data import Clips
from vtcd_jax.features import capture
from vtcd_jax.models import InputError, Model

from ..evaluation.methods import Method, Ranker, by_masks, from_tokens

Features = Mapping[str, np.ndarray]
Ids = Mapping[str, np.ndarray]
Label = Callable[[Features, np.ndarray], Ids]
Fit = Callable[[Features, np.ndarray, int], Label]
MASKS = 160


@dataclass(frozen=True, eq=False)
class Labelled(Concepts):
    """Concepts with the function that finds them in other clips. label: see ``Label``."""

    label: Label | None = None


def from_arrays(fit: Fit, rank: Ranker | None = None) -> Method:
    """A method from a function of arrays.

    rank: default: that of VTCD, with 160 passes per clip.
    """

    def find(model: Model, clips: Clips, key: jax.Array) -> Concepts:
        features = features_of(model, clips)
        label = fit(features, clips.video, seed_of(key))
        ids = _checked(label(features, clips.video), features)
        count = 1 + max(int(array.max()) for array in ids.values())
        if not count:
            raise InputError("the method found no concepts: all ids are -1")
        found = from_tokens(clips, ids, count)
        fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        return Labelled(**fields, label=label)

    return Method(find, rank or by_masks(MASKS), _again)


def _again(model: Model, clips: Clips, concepts: Concepts) -> Concepts:
    """The same concepts on other clips. A number above those of the first half is a concept that was not found there,
    and is left out."""
    if not isinstance(concepts, Labelled) or concepts.label is None:
        raise InputError("these concepts carry no function that finds them again; make the method with from_arrays")
    features = features_of(model, clips)
    ids = _checked(concepts.label(features, clips.video), features)
    return from_tokens(
        clips, {site: np.where(array < len(concepts), array, -1) for site, array in ids.items()}, len(concepts)
    )


def features_of(model: Model, clips: Clips) -> dict[str, np.ndarray]:
    """The features of all sites of the network."""
    return capture(model, clips, concept_sites(model))


def seed_of(key: jax.Array) -> int:
    """A whole number from a key."""
    return int(np.asarray(jax.random.bits(key, dtype=np.uint32)) >> 1)


def _checked(ids: Ids, features: Features) -> dict[str, np.ndarray]:
    """The ids as int32 arrays. Raises InputError for unknown sites and other shapes."""
    out = {}
    for site, values in ids.items():
        if site not in features:
            raise InputError(f"ids of {site!r}: the network has no such site; it has {', '.join(features)}")
        array, shape = np.asarray(values), features[site].shape[:-1]
        if array.shape[:5] != shape or array.ndim not in (5, 6) or not np.issubdtype(array.dtype, np.integer):
            raise InputError(
                f"ids of {site!r} must be whole numbers {list(shape)}, or with a last axis for several concepts; got "
                f"{array.dtype} {list(array.shape)}"
            )
        if array.size and array.min() < -1:
            raise InputError(f"ids of {site!r} begin at {array.min()}; -1 stands for no concept")
        out[site] = array.astype(np.int32)
    if not out:
        raise InputError("the method gave ids of no site")
    return out
