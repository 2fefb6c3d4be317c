"""Inputs of compiled calls: pixels, the tokens of each concept, targets, and the values that replace removed ones.

Each clip is sent to the device once; masks of token size are made on the device.
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

from vtcd_jax.data import ClipSource
from vtcd_jax.data.inputs import network_inputs
from vtcd_jax.data.same import check_same_clips
from vtcd_jax.devices.mesh import put
from vtcd_jax.models import InputError, Model
from vtcd_jax.scores.targets import Targets, check_targets

from .masked_pass import VIDEO, DeviceBatch, values_of
from .support import Support


@dataclass(frozen=True, eq=False)
class EngineInputs:
    """All clips of a run of passes.

    fill:  site -> float32 [head, channel], means (mode "mean"), or None.
    donor: int [video], the clip whose values replace removed ones (mode "resample"), or None.
    """

    model: Model
    clips: ClipSource
    support: Support
    targets: Targets
    fill: Mapping[str, np.ndarray] | None = None
    donor: np.ndarray | None = None
    _last: dict[tuple, DeviceBatch] = field(default_factory=dict)

    def of(self, videos: Sequence[int], mesh: Mesh | None = None) -> DeviceBatch:
        """The clips of a call, [task, …], on its devices, where the last batch stays.

        Not for several threads.
        """
        wanted = (*videos, mesh)
        if wanted not in self._last:
            self._last.clear()
            self._last[wanted] = DeviceBatch(**put(self._host(list(videos)), mesh, P(VIDEO)))
        return self._last[wanted]

    def _host(self, videos: list[int]) -> dict[str, Any]:
        """The fields of ``DeviceBatch`` as host arrays."""
        clips, support, targets = self.clips.read(videos), self.support, self.targets
        fields: dict[str, Any] = {
            "pixels": clips.video,
            "ids": {site: ids[videos] for site, ids in support.ids.items()},
            "weight": {site: weight[videos] for site, weight in support.weight.items()},
            "label": np.asarray(targets.label, np.int32)[videos],
            "query": clips.query,
            "mask": None if targets.mask is None else targets.mask[videos],
        }
        if self.fill is not None:
            fields["fill"] = {site: np.stack([mean] * len(videos)) for site, mean in self.fill.items()}
        if self.donor is not None:
            others = self.clips.read(self.donor[videos])
            fields |= {"donor": others.video, "donor_query": others.query}
        return fields


def build_inputs(
    model: Model, clips: ClipSource, support: Support, targets: Targets, mode: str = "zero"
) -> EngineInputs:
    """The inputs for a mode; "mean" runs every clip once.

    Raises InputError for concepts or targets of other clips or another order of clips, and for a clip whose target is
    not a class of the network.
    """
    check_joined(model, clips, support, targets)
    if mode == "mean":
        return EngineInputs(model, clips, support, targets, fill=mean_values(model, clips, tuple(support.ids)))
    if mode == "resample":
        return EngineInputs(model, clips, support, targets, donor=donors(clips))
    return EngineInputs(model, clips, support, targets)


def check_joined(model: Model, clips: ClipSource, support: Support, targets: Targets) -> None:
    """Raises InputError for concepts or targets of other clips, or of these in another order, and for a clip whose
    target is no class of the network."""
    known = {len(ids) for ids in support.ids.values()} | {len(targets.label)}
    if known != {len(clips)}:
        raise InputError(f"{len(clips)} clips, but concepts or targets of {max(known - {len(clips)})}; use `assign`")
    check_same_clips("concepts", support.hashes, clips, "use `assign` to find them in these clips")
    check_targets(model, clips, targets)


def mean_values(model: Model, clips: ClipSource, sites: tuple[str, ...]) -> dict[str, np.ndarray]:
    """site -> float32 [head, channel] (a stream's: [channel]), the mean over all tokens of all clips."""
    total = {site: np.zeros(()) for site in sites}
    for video in range(len(clips)):
        one = clips.read([video])
        query = None if one.query is None else jnp.asarray(one.query)
        means = _token_means(sites, model, jnp.asarray(one.video), query)
        total = {site: total[site] + np.asarray(means[site], np.float64) for site in sites}
    return {site: (value / len(clips)).astype(np.float32) for site, value in total.items()}


@partial(jax.jit, static_argnums=0)
def _token_means(
    sites: tuple[str, ...], model: Model, pixels: jax.Array, query: jax.Array | None
) -> dict[str, jax.Array]:
    values = values_of(model, network_inputs(model, pixels, query, "float32"), sites)
    return {site: value.mean((0, 1, 2, 3)) for site, value in values.items()}


def donors(clips: ClipSource) -> np.ndarray:
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
    return np.array([first[after[pixels]] for pixels in clips.pixel_hashes])
