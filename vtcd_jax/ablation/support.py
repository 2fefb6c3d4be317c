"""Where concepts live, and what removing them does to the values there.

    ids[site]     int32 [video, time, height, width, head, slot]   concept at each position, -1 for none
    weight[site]  float [video, time, height, width, head, slot]   how much of it, in [0, 1] (absent: 1)
    gates         float [concept]                                   1 kept, 0 removed
    factor        ``Π_slot (1 - weight · (1 - gate))`` at each position

    mode       a removed value becomes
    zero       0; a zeroed key stays in the softmax with logit 0, as in the released code
    mean       its head's mean over the clips' tokens
    resample   what another clip has at that place
    neg_inf    (keys) itself, but the softmax does not see it: its logit is minus infinity; a query that sees no key at
               all gets 0, and with soft gates the share that is seen of the key seen most (``attention.seen_most``)

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
UNSEEN = 1e-30  # weight in the softmax that counts as none


@dataclass(frozen=True)
class Support:
    """ids, weight: as above (``weight`` may lack sites).  concepts: their number.

    hashes: of the clips, as ``Clips.hashes``, so that other clips are refused; empty where they are not known.
    """

    ids: Mapping[str, np.ndarray]
    concepts: int
    weight: Mapping[str, np.ndarray] = field(default_factory=dict)
    hashes: tuple[str, ...] = ()

    @classmethod
    def of(cls, concepts: Concepts) -> Support:
        """Where concepts lie in their clips."""
        return cls(concepts.ids, len(concepts), hashes=tuple(concepts.video_hashes))

    def __post_init__(self) -> None:
        for site, ids in self.ids.items():
            if ids.ndim != 6:
                raise ValueError(f"ids of {site!r} need [video, time, height, width, head, slot], got {ids.shape}")
            if ids.size and (ids.min() < -1 or ids.max() >= self.concepts):
                raise ValueError(f"ids of {site!r} run from {ids.min()} to {ids.max()}; concepts are {self.concepts}")
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
        return Support(ids, self.concepts, weight, hashes)

    def present(self) -> np.ndarray:
        """bool [video, concept]: whether the concept covers any token of the clip."""
        found = np.zeros((len(self), self.concepts + 1), bool)
        for ids in self.ids.values():
            for video, volume in enumerate(ids):
                found[video, np.unique(volume)] = True
        return found[:, :-1]


def factors(
    gates: Float[Array, " concept"],
    ids: Int[Array, "*position slot"],
    weight: Float[Array, "*position slot"] | None = None,
) -> Float[Array, "*position"]:
    """What each position is multiplied by; -1 in ``ids`` means kept."""
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
    """Edits that remove what the gates close at every site, special tokens untouched.

    fill: what a removed value becomes (modes "mean" and "resample"), broadcasting against the site.
    """
    made = {}
    for site, at in ids.items():
        factor = factors(gates, at, weight.get(site))[..., None]
        if not site.endswith(PER_HEAD):  # a stream: one head, which its values do not show
            factor = factor[..., 0, :]
        if mode == "neg_inf":
            made[logit_site(site)] = Edit(shift=jnp.log(jnp.maximum(factor, UNSEEN)))
        else:
            made[site] = Edit(scale=factor, shift=(1 - factor) * fill[site] if fill else 0.0)
    return made


def logit_site(site: str) -> str:
    """The site of the logits that keys add to. Raises InputError for values that are no keys."""
    if not site.endswith("attn/key"):
        raise InputError(f"mode 'neg_inf' hides keys from the softmax; {site!r} has none, take another --mode")
    return f"{site}_logit"
