"""What a compiled call takes of the clips: pixels, where concepts lie, what the score is about, what fills gaps.

Each clip is shipped once; the masks of token size are made on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from vtcd_jax.data import Clips
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.devices.mesh import place
from vtcd_jax.models import InputError, Model
from vtcd_jax.scores.targets import Targets, check_targets

from .masked_pass import VIDEO, ClipArguments, network_inputs, values_of
from .support import Support


@dataclass(frozen=True, eq=False)
class Arguments:
    """All clips of a run of passes.

    fill:  site -> float32 [head, channel], means (mode "mean"), or None.
    donor: int [video], whose values take the place of removed ones (mode "resample"), or None.
    """

    model: Model
    clips: Clips
    support: Support
    targets: Targets
    fill: Mapping[str, np.ndarray] | None = None
    donor: np.ndarray | None = None
    _last: dict[tuple, ClipArguments] = field(default_factory=dict)

    def of(self, videos: Sequence[int], mesh: Mesh | None = None) -> ClipArguments:
        """The arguments of a call on these clips, [task, …], on its devices; the last ones are kept there.

        Not for several threads at once.
        """
        wanted = (*videos, mesh)
        if wanted not in self._last:
            self._last.clear()
            self._last[wanted] = ClipArguments(**place(self._host(list(videos)), mesh, P(VIDEO)))
        return self._last[wanted]

    def _host(self, videos: list[int]) -> dict[str, Any]:
        """The fields of ``ClipArguments`` as host arrays."""
        clips, support, targets = self.clips, self.support, self.targets
        fields: dict[str, Any] = {
            "pixels": clips.video[videos],
            "ids": {site: ids[videos] for site, ids in support.ids.items()},
            "weight": {site: weight[videos] for site, weight in support.weight.items()},
            "label": np.asarray(targets.label, np.int32)[videos],
            "query": None if clips.query is None else clips.query[videos],
            "mask": None if targets.mask is None else targets.mask[videos],
        }
        if self.fill is not None:
            fields["fill"] = {site: np.stack([mean] * len(videos)) for site, mean in self.fill.items()}
        if self.donor is not None:
            donor = self.donor[videos]
            fields |= {"donor": clips.video[donor], "donor_query": None if clips.query is None else clips.query[donor]}
        return fields


def arguments_of(model: Model, clips: Clips, support: Support, targets: Targets, mode: str = "zero") -> Arguments:
    """Arguments for a mode; "mean" runs every clip once.

    Raises InputError for concepts or targets of other clips, or of these in another order, and for a clip whose target
    is no class of the network.
    """
    known = {len(ids) for ids in support.ids.values()} | {len(targets.label)}
    if known != {len(clips)}:
        raise InputError(f"{len(clips)} clips, but concepts or targets of {max(known - {len(clips)})}; use `assign`")
    check_same_clips("concepts", support.hashes, clips, "use `assign` to find them in these clips")
    check_targets(model, clips, targets)
    if mode == "mean":
        return Arguments(model, clips, support, targets, fill=mean_values(model, clips, tuple(support.ids)))
    if mode == "resample":
        return Arguments(model, clips, support, targets, donor=donors(clips))
    return Arguments(model, clips, support, targets)


def mean_values(model: Model, clips: Clips, sites: tuple[str, ...]) -> dict[str, np.ndarray]:
    """site -> float32 [head, channel] (a stream's: [channel]), the mean over all tokens of all clips."""
    total = {site: np.zeros(()) for site in sites}
    for video in range(len(clips)):
        query = None if clips.query is None else jnp.asarray(clips.query[video : video + 1])
        means = _token_means(sites, model, jnp.asarray(clips.video[video : video + 1]), query)
        total = {site: total[site] + np.asarray(means[site], np.float64) for site in sites}
    return {site: (value / len(clips)).astype(np.float32) for site, value in total.items()}


@partial(jax.jit, static_argnums=0)
def _token_means(
    sites: tuple[str, ...], model: Model, pixels: jax.Array, query: jax.Array | None
) -> dict[str, jax.Array]:
    found = values_of(model, network_inputs(model, pixels, query, "float32"), sites)
    return {site: value.mean((0, 1, 2, 3)) for site, value in found.items()}


def donors(clips: Clips) -> np.ndarray:
    """int [video]: for each clip the one with other pixels whose hash comes next, whatever the order of the clips.

    Raises InputError where all clips have the same pixels.
    """
    different = sorted(set(clips.pixel_hashes))
    if len(different) < 2:
        raise InputError("mode 'resample' takes removed values from another clip; give at least two with other pixels")
    after = dict(zip(different, [*different[1:], different[0]], strict=True))
    first: dict[str, int] = {}  # of the clips with equal pixels
    for video in np.argsort(clips.hashes, kind="stable"):
        first.setdefault(clips.pixel_hashes[video], int(video))
    return np.array([first[after[own]] for own in clips.pixel_hashes])
