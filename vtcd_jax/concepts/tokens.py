"""Concepts of tokens: tubelets serve to find the concepts, then every token gets the concept whose mean is nearest.

    x [time height width head channel]   features of a clip at a site
    m_c   mean of the features of concept c's tubelets, on the discovery clips
    concept of a token of head h = argmin |x - m_c|² over the concepts c of h

The outlines of tubelets are coarse, and a token is read from one voxel of them; the means average over whole tubelets
and are hardly affected. New clips need no segmentation.

All tokens of a concept in a clip form one *region*. Regions take the place of tubelets in the result: their label is
the number of the concept in its head, and their grid is that of the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vtcd_jax.data.clips import ClipSource
from vtcd_jax.models import Model, fingerprint
from vtcd_jax.runs import Step, Work
from vtcd_jax.runs.blocks import Arrays

from .cache import key_of, site_name
from .labels import Labels
from .proposals import Volumes, features, ordered, padded_concepts
from .types import Concepts, Tubelets

TOKENS = Step("tokens", "concepts of tokens", "clip")
Row = tuple[np.ndarray, ...]
"""where int32 [region, 3] = site, head, video; label, size [region]; feature [region, channel]; concept, weight."""


class Centres(NamedTuple):
    """The means of the concepts of a site's heads: means float32 [head, number, channel], zero beyond ``used`` int32
    [head]; concept int32 [head, number], their ids, -1 beyond."""

    means: np.ndarray
    used: np.ndarray
    concept: np.ndarray


def tubelet_means(tubelets: Tubelets, assignment: np.ndarray, concepts: int) -> Float[np.ndarray, "concept channel"]:
    """Mean of the features of each concept's tubelets; every concept has one at least."""
    total = np.zeros((concepts, tubelets.feature.shape[1]))
    np.add.at(total, assignment, tubelets.feature)
    return (total / np.bincount(assignment, minlength=concepts)[:, None]).astype(np.float32)


def assign_tokens(model: Model, clips: ClipSource, concepts: Concepts, *, work: Work = Work()) -> Concepts:
    """The same concepts, with the tokens of ``clips`` whose nearest mean is theirs; one may have none.

    concepts: with ``centres``.   work: keeps the tokens of a clip as they are done.
    ``weights`` is 1 - d²/D², averaged over a region, for the distances d, D to the nearest and the second nearest mean
    (1 in a head of one concept); ``error`` the length of what the means leave over, relative to the features.
    """
    assert concepts.centres is not None
    return assign_centres(model, clips, concepts, [concepts.centres], work=work)[0]


def assign_centres(
    model: Model, clips: ClipSource, concepts: Concepts, centres: Sequence[np.ndarray], *, work: Work = Work()
) -> list[Concepts]:
    """``assign_tokens`` for several sets of centres [concept, channel] in the place of the means; every clip passes
    through the network once."""
    every = [{name: _centres(concepts, s, one) for s, name in enumerate(concepts.sites)} for one in centres]
    found = [_Tokens({name: [] for name in concepts.sites}, [], np.zeros((2, *_places(concepts)))) for _ in centres]
    for video in range(len(clips)):
        # Made when the first site asks for it: a clip whose sites are all known needs no forward pass.
        volumes: Volumes = cache(partial(features, model, clips, video, concepts.sites))
        for known, tokens in zip(every, found, strict=True):
            _add_clip(tokens, known, video, _blocks(model, clips, video, volumes, known, work))
        work.progress(TOKENS, video + 1, len(clips))
    return [
        _as_concepts(clips, replace(concepts, centres=one), known, tokens)
        for one, known, tokens in zip(centres, every, found, strict=True)
    ]


class _Tokens(NamedTuple):
    """What is known of the clips so far: labels of a site's tokens, clip by clip; rows of regions; squared lengths that
    the means leave over, and of the features, [2, site, head]."""

    labels: dict[str, list[np.ndarray]]
    rows: list[Row]
    squares: np.ndarray


def _add_clip(tokens: _Tokens, centres: Mapping[str, Centres], video: int, blocks: Mapping[str, Arrays]) -> None:
    for s, (name, block) in enumerate(blocks.items()):
        tokens.labels[name].append(block["label"])
        tokens.rows.extend(_regions(s, video, centres[name], block))
        for kind, values in enumerate((block["rest"], block["square"])):
            tokens.squares[kind, s, : len(values)] += values


def _as_concepts(clips: ClipSource, concepts: Concepts, centres: Mapping[str, Centres], tokens: _Tokens) -> Concepts:
    regions, assignment, weights = _gathered(tokens.rows)
    labels = {name: np.stack(own) for name, own in tokens.labels.items()}
    memberships = np.zeros((len(regions), int(concepts.number.max())), np.float32)
    memberships[np.arange(len(regions)), regions.label] = weights
    rest, square = tokens.squares[:, concepts.site, concepts.head]
    return replace(
        concepts,
        slic_grid=concepts.grid,
        tubelets=regions,
        assignment=assignment,
        weights=weights,
        memberships=memberships,
        ids={name: _ids(own, centres[name]) for name, own in labels.items()},
        labels=Labels.of(labels),
        error=np.sqrt(rest / np.maximum(square, np.finfo(float).tiny)).astype(np.float32),
        video_names=clips.names,
        video_hashes=clips.hashes,
    )


def _places(concepts: Concepts) -> tuple[int, int]:
    """Sites, and the most heads of any."""
    return len(concepts.sites), int(concepts.head.max()) + 1


def _centres(concepts: Concepts, site: int, means: np.ndarray) -> Centres:
    """The means [concept, channel] of a site, head by head."""
    sites, head = concepts.site[: concepts.leaves], concepts.head[: concepts.leaves]
    own = [np.flatnonzero((sites == site) & (head == h)) for h in range(int(head[sites == site].max()) + 1)]
    used = np.array([len(ids) for ids in own], np.int32)
    most = padded_concepts(int(used.max()))
    by_head = np.zeros((len(own), most, concepts.width(site)), np.float32)
    concept = np.full((len(own), most), -1, np.int32)
    for h, ids in enumerate(own):
        by_head[h, : len(ids)] = means[ids, : concepts.width(site)]
        concept[h, : len(ids)] = ids
    return Centres(by_head, used, concept)


def _blocks(
    model: Model, clips: ClipSource, video: int, volumes: Volumes, centres: Mapping[str, Centres], work: Work
) -> dict[str, Arrays]:
    """What ``_assigned`` gives for every site of a clip, kept in the store as it is done."""
    network = "" if work.store is None else fingerprint(model)
    found = {}
    for name, known in centres.items():

        def make(name: str = name, known: Centres = known) -> Arrays:
            found = _assigned(volumes()[name], known.means, known.used)
            return {part: np.asarray(value) for part, value in found.items()}

        if work.stop():
            raise KeyboardInterrupt
        key = "" if work.store is None else key_of(network, clips.hashes[video], known.means.tobytes(), known.used)
        found[name] = work.cached(f"tokens/{key}-{site_name(name)}", make)
    return found


@jax.jit
def _assigned(
    x: Float[Array, "time height width head channel"],
    means: Float[Array, "head number channel"],
    used: Int[Array, "head"],
) -> dict[str, jax.Array]:
    """label uint8 [time, height, width, head]; size, weight [head, number] and feature [head, number, channel] of the
    regions; rest, square [head]: squared lengths of what the means leave over, and of the features."""
    volume = jnp.moveaxis(x, 3, 0)
    samples = volume.reshape(len(volume), -1, x.shape[-1])
    with jax.default_matmul_precision("highest"):
        found = jax.vmap(_head)(samples, means, used)
    label = jnp.moveaxis(found.pop("label").reshape(volume.shape[:4]), 0, 3)
    return {"label": label.astype(jnp.uint8), **found}


def _head(
    samples: Float[Array, "sample channel"], means: Float[Array, "number channel"], used: Int[Array, ""]
) -> dict[str, jax.Array]:
    real = jnp.arange(len(means)) < used
    origin = means.sum(0) / jnp.maximum(used, 1)  # small numbers keep float32 distances exact
    x, m = samples - origin, means - origin
    distance = (x**2).sum(1)[:, None] - 2 * x @ m.T + (m**2).sum(1)
    label = jnp.argmin(jnp.where(real, distance, jnp.inf), axis=1)
    first, second = jnp.maximum(-jax.lax.top_k(-jnp.where(real, distance, jnp.inf), 2)[0], 0).T
    clear = 1 - first / jnp.maximum(second, jnp.finfo(x.dtype).tiny)
    member = jax.nn.one_hot(label, len(means), dtype=samples.dtype)
    size = member.sum(0)
    count = jnp.maximum(size, 1)
    return {
        "label": label,
        "size": size.astype(jnp.int32),
        "weight": clear @ member / count,
        "feature": member.T @ samples / count[:, None],
        "rest": first.sum(),
        "square": (samples**2).sum(),
    }


def _regions(site: int, video: int, centres: Centres, block: Arrays) -> list[Row]:
    """The regions of a clip at a site, a row of arrays per head."""
    rows = []
    for head, size in enumerate(block["size"]):
        label = np.flatnonzero(size)
        where = np.full((len(label), 3), (site, head, video), np.int32)
        parts = (label.astype(np.int32), size[label], block["feature"][head, label])
        rows.append((where, *parts, centres.concept[head, label], block["weight"][head, label]))
    return rows


def _gathered(rows: list[Row]) -> tuple[Tubelets, np.ndarray, np.ndarray]:
    """(regions in order, their concepts, their weights)."""
    concept, weight = (np.concatenate(part) for part in zip(*(row[4:] for row in rows), strict=True))
    regions, order = ordered([row[:4] for row in rows])
    return regions, concept[order], weight[order].astype(np.float32)


def _ids(labels: np.ndarray, centres: Centres) -> np.ndarray:
    """int32 [video, time, height, width, head, 1]: the concept of each label [video, time, height, width, head]."""
    heads = np.arange(labels.shape[-1])
    return centres.concept[heads, labels.astype(int)][..., None]
