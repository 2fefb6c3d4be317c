"""Supports: the tokens of each concept, and the edits that remove concepts.

    ids[site]     int32 [video, time, height, width, head, slot]   concept at each position, -1 for none
    weight[site]  float [video, time, height, width, head, slot]   membership, in [0, 1] (absent: 1)
    gates         float [concept]                                   1 kept, 0 removed
    factor        ``Π_slot (1 - weight · (1 - gate))`` at each position

    mode       a removed value becomes
    zero       0; a zeroed key stays in the softmax with logit 0, as in the released code
    mean       its head's mean over the clips' tokens
    resample   the value of another clip at that position
    neg_inf    (keys) itself, but its logit is minus infinity, so the softmax ignores it; a query without any key left
               gets 0, and with soft gates the fraction of its most visible key (``attention.seen_most``)

Kowal et al. (2024), VTCD, equation 4, extended to soft gates and to concepts that overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vtcd_jax.concepts.types import Concepts
from vtcd_jax.models import Edit, InputError

MODES = ("zero", "mean", "resample", "neg_inf")
PER_HEAD = ("query", "key", "value", "mixed")
UNSEEN = 1e-30  # weight in the softmax that counts as zero


@dataclass(frozen=True)
class Support:
    """The tokens of each concept in each clip.

    ids, weight: as above (``weight`` may lack sites).
    concepts:    number of concepts.
    hashes:      of the clips, as ``Clips.hashes``, so that other clips are refused; empty where they are unknown.
    parent:      int [concept], the concept that each is a part of, -1 for none; None without a hierarchy. Only leaves
                 have tokens of their own (in ``ids``): a node that is removed removes its leaves (``closed``).
    """

    ids: Mapping[str, np.ndarray]
    concepts: int
    weight: Mapping[str, np.ndarray] = field(default_factory=dict)
    hashes: tuple[str, ...] = ()
    parent: np.ndarray | None = None

    @classmethod
    def of(cls, concepts: Concepts) -> Support:
        """The tokens of concepts in their own clips."""
        return cls(concepts.ids, len(concepts), hashes=tuple(concepts.video_hashes), parent=concepts.parent)

    def __post_init__(self) -> None:
        for site, ids in self.ids.items():
            if ids.ndim != 6:
                raise ValueError(f"ids of {site!r} need [video, time, height, width, head, slot], got {ids.shape}")
            if ids.size and (ids.min() < -1 or ids.max() >= self.concepts):
                raise ValueError(
                    f"ids of {site!r} run from {ids.min()} to {ids.max()}, but there are {self.concepts} concepts"
                )
            if self.hashes and len(ids) != len(self.hashes):
                raise ValueError(f"ids of {site!r} are of {len(ids)} clips, the hashes of {len(self.hashes)}")
            if site in self.weight and self.weight[site].shape != ids.shape:
                raise ValueError(f"weight of {site!r} has shape {self.weight[site].shape}, ids {ids.shape}")

    def __len__(self) -> int:
        """Number of clips."""
        return len(next(iter(self.ids.values())))

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> Support:
        """The same concepts in the chosen clips."""
        chosen = np.arange(len(self))[list(rows)]
        ids, weight = ({site: a[chosen] for site, a in of.items()} for of in (self.ids, self.weight))
        hashes = tuple(self.hashes[i] for i in chosen) if self.hashes else ()
        return Support(ids, self.concepts, weight, hashes, self.parent)

    def present(self) -> np.ndarray:
        """bool [video, concept]: whether the concept covers any token of the clip."""
        present = np.zeros((len(self), self.concepts + 1), bool)
        for ids in self.ids.values():
            for video, volume in enumerate(ids):
                present[video, np.unique(volume)] = True
        present = present[:, :-1]
        if self.parent is not None:
            for concept in range(self.concepts):  # a part has a lower number than what it is a part of
                if self.parent[concept] >= 0:
                    present[:, self.parent[concept]] |= present[:, concept]
        return present

    def closed(self, gates: np.ndarray) -> np.ndarray:
        """Gates [mask, concept] by which leaves alone are removed: each with all that it is a part of, others 1."""
        if self.parent is None:
            return gates
        closed = np.array(gates)
        for concept in range(self.concepts - 1, -1, -1):
            if self.parent[concept] >= 0:
                closed[:, concept] *= closed[:, self.parent[concept]]
        closed[:, np.unique(self.parent[self.parent >= 0])] = 1
        return closed


def factors(
    gates: Float[Array, " concept"],
    ids: Int[Array, "*position slot"],
    weight: Float[Array, "*position slot"] | None = None,
) -> Float[Array, "*position"]:
    """The factor of each position; -1 in ``ids`` means kept."""
    gates = jnp.append(gates, jnp.ones((), gates.dtype))  # index -1
    removed = 1 - gates[ids]
    return jnp.prod(1 - (removed if weight is None else weight * removed), axis=-1)


def edits(
    gates: Float[Array, " concept"],
    ids: Mapping[str, jax.Array],
    weight: Mapping[str, jax.Array],
    mode: str = "zero",
    fill: Mapping[str, jax.Array] | None = None,
) -> dict[str, Edit]:
    """Edits that remove the concepts with closed gates at every site. Special tokens are not edited.

    fill: what a removed value becomes (modes "mean" and "resample"), broadcasting against the site.
    """
    result = {}
    for site, concept_ids in ids.items():
        factor = factors(gates, concept_ids, weight.get(site))[..., None]
        if not site.endswith(PER_HEAD):  # a stream: one head, without an axis for it
            factor = factor[..., 0, :]
        if mode == "neg_inf":
            result[logit_site(site)] = Edit(shift=jnp.log(jnp.maximum(factor, UNSEEN)))
        else:
            result[site] = Edit(scale=factor, shift=(1 - factor) * fill[site] if fill else 0.0)
    return result


def logit_site(site: str) -> str:
    """The site of the logits of a site of keys. Raises InputError for other sites."""
    if not site.endswith("attn/key"):
        raise InputError(f"mode 'neg_inf' hides keys from the softmax; {site!r} holds no keys; take another --mode")
    return f"{site}_logit"
