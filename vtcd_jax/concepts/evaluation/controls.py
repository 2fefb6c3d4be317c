"""The controls of every claim about concepts.

random centres   a dictionary that learns nothing: as many tubelets of each head, drawn at random from the clips of
                 discovery, are the centres; everything belongs to the nearest one, on these clips and on new ones
random groups    a weaker control: groups of tubelets, drawn at random for every set of clips, as large as the
                 concepts; any grouping that is the same on two sets of clips is better
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.random import Seed, as_key
from vtcd_jax.data.clips import ClipSource
from vtcd_jax.models import Model
from vtcd_jax.runs import Work

from ..hierarchy import parents
from ..proposals import token_ids
from ..tokens import assign_centres
from ..types import Concepts, Tubelets


@dataclass(frozen=True, eq=False)
class RandomCentres:
    """A dictionary that learns nothing.

    centres: float32 [leaf, channel], of the leaves of the concepts it stands beside.
    parent:  int32 [concept], the same number of inner nodes, of Ward's tree over the centres; None without a hierarchy.
    """

    centres: np.ndarray
    parent: np.ndarray | None = None


def random_centres(concepts: Concepts, key: Seed) -> RandomCentres:
    """For each head as many of its tubelets as it has leaves, drawn without replacement.

    concepts: of discovery (``assign`` loses the tubelets that concepts of tubelets were found in).
    """
    source = concepts.tubelets if concepts.origin is None else concepts.origin
    draw = _generator(key)
    centres = np.zeros_like(concepts.dictionary[: concepts.leaves])
    for site, head, own in heads(concepts):
        tubelets = np.flatnonzero((source.site == site) & (source.head == head))
        centres[own] = source.feature[draw.permutation(tubelets)[: len(own)]]
    if concepts.parent is None:
        return RandomCentres(centres)
    sizes = np.bincount(_nearest(concepts, source, centres), minlength=len(centres))
    return RandomCentres(centres, parents(concepts, centres, np.maximum(sizes, 1))[0])


def nearest_centres(
    model: Model, clips: ClipSource, concepts: Concepts, centres: Sequence[RandomCentres], *, work: Work = Work()
) -> list[Concepts]:
    """For each set of centres, concepts of the same numbers on the clips of ``concepts``: what had concepts, tokens or
    tubelets, gets that of the nearest centre of its head.

    Dictionary and quality belong to the real concepts and are kept only as placeholders.
    """
    if concepts.centres is not None:
        found = assign_centres(model, clips, concepts, [one.centres for one in centres], work=work)
        settings = concepts.settings | {"control": "random centres"}
        return [replace(each, parent=one.parent, settings=settings) for each, one in zip(found, centres, strict=True)]
    return [
        _regrouped(replace(concepts, parent=one.parent), nearest_centre(concepts, one), "random centres")
        for one in centres
    ]


def nearest_centre(concepts: Concepts, centres: RandomCentres) -> np.ndarray:
    """int32 [tubelet]: the leaf whose centre is nearest to a tubelet of ``concepts``; the first of several."""
    return _nearest(concepts, concepts.tubelets, centres.centres)


def _nearest(concepts: Concepts, tubelets: Tubelets, centres: np.ndarray) -> np.ndarray:
    t, assignment = tubelets, np.empty(len(tubelets), np.int32)
    for site, head, own in heads(concepts):
        rows = np.flatnonzero((t.site == site) & (t.head == head))
        apart = t.feature[rows].astype(np.float64)[:, None] - centres[own].astype(np.float64)
        assignment[rows] = own[(apart**2).sum(-1).argmin(1)]
    return assignment


def random_groups(concepts: Concepts, key: Seed, *, within: str = "head") -> Concepts:
    """The weaker control: as many groups of the same sizes, in the same heads, of tubelets drawn at random.

    within: "head" shuffles the concepts of a head's tubelets over all clips; "video" inside each clip, so that a group
            is present in the very clips of its concept, with as many tubelets there: a stricter control.
    Dictionary, weights and quality belong to the real concepts and are kept only as placeholders.
    """
    return _regrouped(concepts, shuffled_assignment(concepts, key, within), f"random tubelets within each {within}")


def _regrouped(concepts: Concepts, assignment: np.ndarray, control: str) -> Concepts:
    """The tubelets with other concepts, int32 [tubelet]. control: its name in the settings."""
    rule = concepts.settings.get("slic", {}).get("grid_rule", "nearest")
    ids = token_ids(concepts.tubelets, assignment, concepts.labels, concepts.sites, concepts.grid, rule)
    return replace(concepts, assignment=assignment, ids=ids, settings=concepts.settings | {"control": control})


def shuffled_assignment(concepts: Concepts, key: Seed, within: str = "head") -> np.ndarray:
    """int32 [tubelet]: the concepts of the tubelets in random order, within each head, or each head and clip."""
    if within not in ("head", "video"):
        raise InputError(f"within must be head or video; got {within!r}")
    draw = _generator(key)
    t = concepts.tubelets
    columns = [t.site, t.head] + ([t.video] if within == "video" else [])
    _, block = np.unique(np.stack(columns), axis=1, return_inverse=True)
    # Shuffle everything, then sort stably by block: the tubelets of a block in random order.
    order = draw.permutation(len(t))
    order = order[np.argsort(block[order], kind="stable")]
    assignment = np.empty_like(concepts.assignment)
    assignment[np.argsort(block, kind="stable")] = concepts.assignment[order]
    return assignment


def heads(concepts: Concepts) -> Iterator[tuple[int, int, np.ndarray]]:
    """(site, head, ids of its leaves)."""
    sites, heads = concepts.site[: concepts.leaves], concepts.head[: concepts.leaves]
    for site, head in sorted(set(zip(sites.tolist(), heads.tolist(), strict=True))):
        yield site, head, np.flatnonzero((sites == site) & (heads == head))


def _generator(key: Seed) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(as_key(key))).tolist())
