"""The loop over clips: stored values are read, the others computed, stored and yielded, clip by clip, in order.

Memory holds at most one clip more than the calls that run at the same time, for any number of clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from vtcd_jax.data import ClipSource
from vtcd_jax.devices.dispatch import map_ordered, max_in_flight
from vtcd_jax.devices.mesh import axis_size
from vtcd_jax.models import InputError
from vtcd_jax.runs import Step, Work

from .calls import VIDEO, Batch, Values, placed
from .keys import digest

Arrays = dict[str, np.ndarray]


class Block(NamedTuple):
    """Values of one clip: site -> array, without an axis for the clip. video: its row in ``clips``."""

    video: int
    values: Arrays


@dataclass(frozen=True)
class Task:
    """The computation for each clip.

    step:  for progress; its name is the prefix of block names.
    clips: all clips.
    batch: rows of clips -> inputs of the call.
    call:  inputs on the devices -> site -> [clip, …].
    mesh:  devices, or None.
    key:   hash of everything else that the values of all clips depend on; None if nothing is stored.
    clip_key: row -> everything else that only the values of this clip depend on.
    """

    step: Step
    clips: ClipSource
    batch: Callable[[list[int]], Batch]
    call: Callable[[Batch], Values]
    mesh: Mesh | None = None
    key: str | None = None
    clip_key: Callable[[int], object] = lambda video: None

    def block_name(self, video: int) -> str:
        """``<step>/<clip hash 16>-<key 16>``."""
        clip = self.clips.hashes[video]
        return f"{self.step.name}/{clip[:16]}-{digest(self.key, clip, self.clip_key(video))[:16]}"


class _Group(NamedTuple):
    """Clips of one call: their rows, stored values by row, and the rows and inputs of the call."""

    videos: list[int]
    stored: dict[int, Arrays]
    missing: list[int]
    batch: Batch | None


def clip_blocks(task: Task, work: Work) -> Iterator[Block]:
    """The clips of the work's shard, in order.

    Raises InputError, naming clip and site, for values that are not finite; KeyboardInterrupt, after storing the
    running clips, if the work is stopped.
    """
    videos = [video for video in range(len(task.clips)) if work.shard.has(video)]
    size, stopped, done = axis_size(task.mesh, VIDEO), False, 0

    def groups() -> Iterator[_Group]:
        nonlocal stopped
        for start in range(0, len(videos), size):
            if stopped := work.stop():
                return
            yield _group(task, work, videos[start : start + size], size)

    def call(group: _Group) -> Values:
        return {} if group.batch is None else task.call(group.batch)

    for group, values in map_ordered(call, groups(), max_in_flight(task.mesh)):
        computed = _rows(task, group, values)
        for video, arrays in computed.items():
            if task.key is not None:
                work.write(task.block_name(video), arrays)
        for video in group.videos:
            done += 1
            work.progress(task.step, done, len(videos))
            yield Block(video, group.stored[video] if video in group.stored else computed[video])
    if stopped:
        raise KeyboardInterrupt


def _group(task: Task, work: Work, videos: list[int], size: int) -> _Group:
    blocks = {video: work.read(task.block_name(video)) for video in videos} if task.key is not None else {}
    stored = {video: arrays for video, arrays in blocks.items() if arrays is not None}
    missing = [video for video in videos if video not in stored]
    if not missing:
        return _Group(videos, stored, missing, None)
    rows = missing + missing[-1:] * (size - len(missing))  # every device has a clip
    return _Group(videos, stored, missing, placed(task.batch(rows), task.mesh))


def _rows(task: Task, group: _Group, values: Values) -> dict[int, Arrays]:
    """Values of a call as host arrays, by clip."""
    host = {site: np.asarray(array) for site, array in jax.device_get(values).items()}
    rows = {video: {site: array[i] for site, array in host.items()} for i, video in enumerate(group.missing)}
    for video, arrays in rows.items():
        for site, array in arrays.items():
            if not np.isfinite(array).all():
                name = task.clips.names[video]
                raise InputError(
                    f"clip {name}, site {site}: {task.step.title} are not finite; check the weights and the clip"
                )
    return rows


def stacked(blocks: Iterator[Block], count: int, order: tuple[str, ...]) -> Arrays:
    """Blocks as one array per site, [video, …], allocated once."""
    out: Arrays = {}
    for row, block in enumerate(blocks):
        for site in order:
            if site not in out:
                out[site] = np.empty((count, *block.values[site].shape), block.values[site].dtype)
            out[site][row] = block.values[site]
    return out or {site: np.empty(0, np.float32) for site in order}  # a shard without a clip


def shard_size(clips: ClipSource, work: Work) -> int:
    """Number of clips of the work's shard."""
    return sum(work.shard.has(video) for video in range(len(clips)))
