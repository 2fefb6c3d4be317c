"""Frames by their number without decoding all before them.

Packets stand one for a frame in the codecs of ``_PACKET_IS_FRAME``, so their times in ascending order are those of the
frames. In mp4 and mov the index says which packet is the n-th: nothing before the jump is read. In other containers
the packets before it are read, not decoded.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .containers import cut_short
from .streams import Damaged, Picture, opened, pictures

FAR = 64  # frames before the first that is needed, from which on a jump is worth it
_REORDERED = 32  # frames that may be shown in another order than they are stored; the codecs allow 16
_PACKET_IS_FRAME = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d"})


class NoSeek(Exception):
    """The frame at a packet's time was not met after a jump, or packets do not tell the frames."""


def packet_times(path: Path, upto: int | None = None) -> tuple[list[int], list[int]] | None:
    """Times of the frames and of the keyframes, ascending, from the packets; None where they do not tell.

    upto: only this many frames are needed, so that the packets behind them need not be read.
    """
    from av.error import FFmpegError

    shown: list[int] = []
    keys: list[int] = []
    with contextlib.suppress(FFmpegError, Damaged), opened(path) as (container, stream):
        if stream.codec_context.name not in _PACKET_IS_FRAME:
            return None
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:  # the flush at the end; frames outside the edit list
                continue
            if packet.pts is None or packet.is_corrupt:
                return None
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
            if upto is not None and len(shown) >= upto + _REORDERED:
                break
        else:
            if cut_short(path):
                return None
        # Packets before the first keyframe, in either order, may hold no frame.
        if len(set(shown)) == len(shown) and keys and keys[0] == min(shown):
            return sorted(shown), sorted(keys)
    return None


def pictures_at(path: Path, times: list[int], keys: list[int]) -> Iterator[Picture]:
    """The frames shown at ascending ``times``; jumps where a keyframe lies between one and the next.

    Raises NoSeek where one of them does not come; what came before is right.
    """
    from av.error import FFmpegError

    with opened(path) as (container, stream):
        frames, place = pictures(container, stream), min(keys, default=0)
        for time in times:
            key = max((k for k in keys if k <= time), default=None)
            try:
                if key is not None and key > place:
                    container.seek(key, stream=stream, backward=True)
                    frames = pictures(container, stream)
                picture = next((p for p in frames if p.frame.pts is None or p.frame.pts >= time), None)
            except (FFmpegError, Damaged) as error:
                raise NoSeek from error  # decoding from the start tells what is at fault, file or jump
            if picture is None or picture.frame.pts != time:
                raise NoSeek
            yield picture
            place = time


def pictures_from(path: Path, first: int, last: int) -> Iterator[tuple[int, Picture]]:
    """(number, frame) for the frames ``first`` to ``last``. Raises NoSeek where decoding from the start must tell."""
    from av.error import FFmpegError

    try:
        with opened(path) as (container, stream):
            numbers = _packet_numbers(container, stream, first)
            if numbers is not None:
                yield from _after_jump(container, stream, numbers, first, last)
                return
    except (FFmpegError, Damaged) as error:
        raise NoSeek from error
    times = packet_times(path, last + 1)
    if times is None or len(times[0]) <= last:
        raise NoSeek
    yield from zip(range(first, last + 1), pictures_at(path, times[0][first : last + 1], times[1]), strict=True)


def _packet_numbers(container: Any, stream: Any, first: int) -> dict[int, int] | None:
    """Time of decoding -> number of the packet, from the index of an mp4 file, or None if too few."""
    if "mov" not in container.format.name or stream.codec_context.name not in _PACKET_IS_FRAME:
        return None
    times = [entry.timestamp for entry in getattr(stream, "index_entries", ()) if not entry.is_discard]
    numbers = {time: number for number, time in enumerate(times)}
    return numbers if first < len(numbers) == stream.frames else None


def _after_jump(container: Any, stream: Any, numbers: dict[int, int], first: int, last: int) -> Iterator:
    """Frames after a jump before ``first``. Frames that are shown before this keyframe though stored after
    it are counted, so that its place in the order of display is known; each frame must come when its packet says."""
    target = next(time for time, number in numbers.items() if number == first - _REORDERED)
    container.seek(target, stream=stream, backward=True)
    number, key, due, context = 0, None, [], stream.codec_context
    for packet in container.demux(stream):
        if packet.size and (packet.pts is None or packet.is_corrupt):
            raise NoSeek
        if packet.size and key is None:
            if not packet.is_keyframe or packet.dts not in numbers:
                raise NoSeek
            key, number = packet.pts, numbers[packet.dts]
        if packet.size and packet.pts < key:
            number += 1
            _decode_early(packet)
            continue
        if packet.size:
            heapq.heappush(due, packet.pts)
        for frame in packet.decode():
            if frame.pts is None or frame.pts < key:
                continue
            if not due or heapq.heappop(due) != frame.pts:
                raise NoSeek
            if first <= number <= last:
                yield number, Picture(frame, context.color_trc, context.color_primaries)
            if number >= last:
                return
            number += 1
    raise NoSeek


def _decode_early(packet: Any) -> None:
    """Gives the decoder a packet whose frames are not needed and may not be decodable after a jump."""
    from av.error import FFmpegError

    with contextlib.suppress(FFmpegError):
        packet.decode()
