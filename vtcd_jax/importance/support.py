"""Where concepts live: which token positions of which site a gate multiplies.

    ids[site]     int32 [video, time, height, width, head, slot]   concept at each position, -1 for none
    weight[site]  float [video, time, height, width, head, slot]   how much of it, in [0, 1] (absent: 1)
    gates         float [concept]                                   1 kept, 0 removed

The factor at a position is ``Π_slot (1 - weight · (1 - gate))``: Kowal et al. (2024), VTCD, equation 4, extended to
soft gates and to concepts that overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vtcd_jax.models import Edit


@dataclass(frozen=True)
class Support:
    """ids, weight: as above (``weight`` may lack sites).  concepts: their number."""

    ids: Mapping[str, np.ndarray]
    concepts: int
    weight: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for site, ids in self.ids.items():
            if ids.ndim != 6:
                raise ValueError(f"ids of {site!r} need [video, time, height, width, head, slot], got {ids.shape}")
            if ids.size and (ids.min() < -1 or ids.max() >= self.concepts):
                raise ValueError(f"ids of {site!r} run from {ids.min()} to {ids.max()}; concepts are {self.concepts}")
            if site in self.weight and self.weight[site].shape != ids.shape:
                raise ValueError(f"weight of {site!r} has shape {self.weight[site].shape}, ids {ids.shape}")

    def __len__(self) -> int:
        """Number of clips."""
        return len(next(iter(self.ids.values())))

    def present(self) -> np.ndarray:
        """bool [video, concept]: whether the concept covers any token of the clip."""
        found = np.zeros((len(self), self.concepts + 1), bool)
        for ids in self.ids.values():
            for video, volume in enumerate(ids):
                found[video, np.unique(volume)] = True
        return found[:, :-1]

    def of(self, video: int) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """One clip's (ids, weight), on the device, leading axis of one kept."""
        ids = {site: jnp.asarray(a[video : video + 1]) for site, a in self.ids.items()}
        weight = {site: jnp.asarray(a[video : video + 1]) for site, a in self.weight.items()}
        return ids, weight


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
    gates: Float[Array, " concept"], ids: Mapping[str, jax.Array], weight: Mapping[str, jax.Array]
) -> dict[str, Edit]:
    """Edits that multiply every site's positions by their factors, special tokens untouched."""
    return {site: Edit(scale=factors(gates, i, weight.get(site))[..., None]) for site, i in ids.items()}
