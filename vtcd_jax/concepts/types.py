"""Results of discovery: tubelets, and the concepts they form. Host arrays with their settings.

Axes: ``tubelet`` runs over all sites, heads and clips; ``concept`` over the concepts of all sites and heads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.showing import html_table, to_pandas

from .labels import Grid, Labels
from .tubelets.resampling import nearest_index


@dataclass(frozen=True, eq=False)
class Tubelets:
    """Tubelets in the order (site, head, video, label). Where tokens have concepts: regions, all tokens of a concept in
    a clip; the SLIC label is then the concept's number - 1, and SLIC resolution that of the tokens (``tokens``).

    site, head, video: int32 [tubelet]; site is an index into ``Concepts.sites``.
    label:   int32 [tubelet], the SLIC label in that clip and head.
    size:    int32 [tubelet], voxels at SLIC resolution.
    feature: float32 [tubelet, channel], mean of the site's features over the tubelet; 0 beyond the site's channels.
    """

    site: np.ndarray
    head: np.ndarray
    video: np.ndarray
    label: np.ndarray
    size: np.ndarray
    feature: np.ndarray

    def __len__(self) -> int:
        return len(self.site)


@dataclass(frozen=True, eq=False)
class Concepts:
    """Concepts of a network on a set of clips.

    sites:      names of the sites; a per-head site, or a stream taken as one head.
    grid:       site -> (time, height, width) of its tokens.   slic_grid: the same of its SLIC volumes.
    site, head: int32 [concept], where it lives; number: int32 [concept], 1-based inside its head.
    dictionary: float32 [concept, channel], the rows of W; 0 beyond the site's channels.
    tubelets:   all tubelets of these clips.
    assignment: int32 [tubelet], the concept of each.
    weights:    float32 [tubelet], the entry of G or H that decided it.
    memberships: float32 [tubelet, number], the tubelet's entries of G or H for all concepts of its head, 0 beyond them.
    ids:        site -> int32 [video, time, height, width, head, 1], concept of each token, -1 for none.
    labels:     SLIC labels, packed.
    silhouette: float32 [concept], mean silhouette of its head; nan where undefined (one concept only).
    error:      float32 [concept], relative reconstruction error of its head.
    converged:  bool [concept], whether its head's factorisation met the tolerance.
    settings:   how they were found; JSON-able.
    video_names, video_hashes: the clips.
    encoder:    float32 [concept, channel], what new tubelets are multiplied with; None but for method "top-k".
    centres:    float32 [concept, channel], the means that give tokens their concepts; None where tubelets have them.
    origin:     the tubelets of discovery that the means are of; None where tubelets have concepts.
    parent:     int32 [concept], the concept that each is a part of, -1 for none; None without a hierarchy. Those with
                tubelets of their own, the leaves, come first; the others are unions of them (``hierarchy``).
    channels:   site -> its number of channels, of sites that have fewer than the widest.
    frames:     (time, height, width) of the clips' pixels; None where they are not known.
    stability_seeds, stability_clips, stability_centres: float32 [concept] in [0, 1], how much of it is found again with
                another seed, or on half of the clips, and what random centres of its head reach in the mean
                (``evaluation.stability``); None where that was not tried.
    """

    sites: tuple[str, ...]
    grid: Mapping[str, Grid]
    slic_grid: Mapping[str, Grid]
    site: np.ndarray
    head: np.ndarray
    number: np.ndarray
    dictionary: np.ndarray
    tubelets: Tubelets
    assignment: np.ndarray
    weights: np.ndarray
    memberships: np.ndarray
    ids: dict[str, np.ndarray]
    labels: Labels
    silhouette: np.ndarray
    error: np.ndarray
    converged: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)
    video_names: tuple[str, ...] = ()
    video_hashes: tuple[str, ...] = ()
    encoder: np.ndarray | None = None
    centres: np.ndarray | None = None
    origin: Tubelets | None = None
    parent: np.ndarray | None = None
    channels: Mapping[str, int] = field(default_factory=dict)
    frames: Grid | None = None
    stability_seeds: np.ndarray | None = None
    stability_clips: np.ndarray | None = None
    stability_centres: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of concepts."""
        return len(self.site)

    def __repr__(self) -> str:
        heads = len(np.unique(np.stack([self.site, self.head], 1), axis=0))
        count = (
            f"{len(self)} concepts"
            if self.parent is None
            else f"{self.leaves} concepts, {len(self) - self.leaves} unions"
        )
        return f"<{count} in {heads} heads of {len(self.sites)} sites, on {self.videos} clips>"

    def _repr_html_(self) -> str:
        columns = ("name", "tubelets", "videos", "spread", "silhouette", "stability_clips", "best_clip")
        table = self.table()
        return html_table(repr(self)[1:-1], {name: table[name] for name in columns})

    def table(self) -> dict[str, Sequence[Any] | np.ndarray]:
        """A row per concept, as columns: what ``concepts.csv`` holds. NaN, or None, where a value is not defined."""
        unknown = np.full(len(self), np.nan)
        best = [self.best_clips(i, 1) for i in range(len(self))]
        return {
            "id": np.arange(len(self)),
            "name": self.names,
            "site": tuple(self.sites[s] for s in self.site),
            "layer": np.asarray(self.layers)[self.site],
            "head": self.head,
            "number": self.number,
            "tubelets": self.count(),
            "videos": self.present().sum(0),
            "spread": self.spread(),
            "silhouette": self.silhouette,
            "error": self.error,
            "stability_seeds": unknown if self.stability_seeds is None else self.stability_seeds,
            "stability_clips": unknown if self.stability_clips is None else self.stability_clips,
            "stability_centres": unknown if self.stability_centres is None else self.stability_centres,
            "best_clip": tuple(self.video_names[clips[0]] if len(clips) else None for clips in best),
        }

    def to_pandas(self) -> Any:
        """``table()`` as a data frame."""
        return to_pandas(self.table())

    @property
    def videos(self) -> int:
        """Number of clips."""
        return len(self.video_names)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Layer of each site: its block number, or its position among ``sites`` where the name has none."""
        blocks = [re.search(r"block_(\d+)", site) for site in self.sites]
        return tuple(int(m[1]) if m else i for i, m in enumerate(blocks))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Identifiers such as "b1.h0.c6": block and head from 0, concept from 1 inside its head.

        The site's name replaces the block where two sites share a block or a site is in no block.
        """
        sites = [site if block is None else f"b{block}" for site, block in zip(self.sites, self._blocks, strict=True)]
        return tuple(f"{sites[s]}.h{h}.c{n}" for s, h, n in zip(self.site, self.head, self.number, strict=True))

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """The names for readers, such as "block 1, head 0, concept 6"."""
        sites = [
            site if block is None else f"block {block}" for site, block in zip(self.sites, self._blocks, strict=True)
        ]
        return tuple(
            f"{sites[s]}, head {h}, concept {n}" for s, h, n in zip(self.site, self.head, self.number, strict=True)
        )

    def width(self, site: int) -> int:
        """Number of channels of a site."""
        return self.channels.get(self.sites[site], self.dictionary.shape[1])

    @cached_property
    def _blocks(self) -> tuple[int | None, ...]:
        """Block number of each site; None for all where a number does not identify a site."""
        numbered = all(re.search(r"block_\d+", site) for site in self.sites)
        unique = len(set(self.layers)) == len(self.sites)
        return self.layers if numbered and unique else (None,) * len(self.sites)

    @cached_property
    def leaves(self) -> int:
        """Number of leaves; all concepts without a hierarchy."""
        return len(self) if self.parent is None else len(self) - len(np.unique(self.parent[self.parent >= 0]))

    @cached_property
    def members(self) -> np.ndarray:
        """bool [concept, leaf]: the leaves that each concept consists of; a leaf is its own."""
        members = np.eye(len(self), self.leaves, dtype=bool)
        if self.parent is not None:
            for leaf in range(self.leaves):
                node = leaf
                while (node := int(self.parent[node])) >= 0:
                    members[node, leaf] = True
        return members

    def present(self) -> np.ndarray:
        """bool [video, concept]: has the clip a tubelet of the concept?"""
        found = np.zeros((self.videos, self.leaves), bool)
        found[self.tubelets.video, self.assignment] = True
        return np.matmul(found, self.members.T, dtype=np.float32) > 0

    def count(self) -> np.ndarray:
        """int64 [concept]: its number of tubelets."""
        return self.members @ np.bincount(self.assignment, minlength=self.leaves)

    def spread(self) -> np.ndarray:
        """float64 [concept] in [0, 1]: clips that have it, per tubelet; 0 without tubelets."""
        return self.present().sum(0) / np.maximum(self.count(), 1)

    def size(self) -> np.ndarray:
        """int64 [concept]: voxels of its tubelets at SLIC resolution."""
        voxels = np.bincount(self.assignment, weights=self.tubelets.size, minlength=self.leaves)
        return self.members @ voxels.astype(np.int64)

    def best_clips(self, concept: int, count: int) -> np.ndarray:
        """int64 [at most count]: the clips that show a concept most, by weight times size of its tubelets there.

        Clips without the concept are never chosen; equal clips come in their own order. Raises InputError for a
        concept that is not there.
        """
        if not 0 <= concept < len(self):
            raise InputError(f"concept {concept} is out of range; there are {len(self)}")
        rows = self.members[concept, self.assignment]
        video, size = self.tubelets.video[rows], self.tubelets.size[rows].astype(np.float64)
        weighted = np.bincount(video, weights=size * self.weights[rows], minlength=self.videos)
        voxels = np.bincount(video, weights=size, minlength=self.videos)
        order = np.lexsort((-voxels, -weighted))
        return order[voxels[order] > 0][:count]

    def support(self, concept: int, videos: Sequence[int] | None = None) -> np.ndarray:
        """bool [video, time', height', width'] at SLIC resolution: the union of its tubelets in the given clips (None:
        all).
        """
        site, head = self.sites[self.site[concept]], int(self.head[concept])
        wanted = np.zeros((self.videos, 256), bool)
        rows = self.members[concept, self.assignment]
        wanted[self.tubelets.video[rows], self.tubelets.label[rows]] = True
        chosen = range(self.videos) if videos is None else videos
        return np.stack([wanted[video][self.labels.volume(site, video, head)] for video in chosen])

    def masks(
        self, concept: int, videos: Sequence[int] | None = None, *, size: Literal["frames"] | Grid = "frames"
    ) -> np.ndarray:
        """bool [video, time, height, width]: the support at the size of the frames, or at another one.

        Every pixel has the value of the cell it lies in. Raises InputError for "frames" where their size is not known.
        """
        if size == "frames":
            if self.frames is None:
                raise InputError("these concepts do not know the size of their frames; give size=(time, height, width)")
            size = self.frames
        support = self.support(concept, videos)
        time, height, width = (nearest_index(new, old) for new, old in zip(size, support.shape[1:], strict=True))
        return support[:, time[:, None, None], height[:, None], width]
