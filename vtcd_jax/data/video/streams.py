"""Video files opened and decoded, by PyAV (FFmpeg's libraries).

Which stream: the container's default one that is no cover image, row of thumbnails or still; where several may be, the
first. Frames before the first keyframe cannot be decoded and do not count, as in FFmpeg.

A damaged file is refused when the decoder meets the damage before the last frame that is needed: it stops at errors
rather than to paint over them. Two things are no damage: packets that belong before the keyframe at which a file was
cut out, and, in H.264, references to frames before that point; there a second decoder tells which frames are whole.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vtcd_jax.base.errors import InputError

from .containers import cut_short
from .hdr import NAMES, to_sdr

# Only these readers may open a file: else FFmpeg would follow a playlist that is named .mp4 to other files.
_CONTAINERS = (
    "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,mpegvideo,m4v,h264,hevc,asf,flv,ogg,mxf,ivf,obu,yuv4mpegpipe,mjpeg"
)
_INTRA = 1  # picture type of frames that stand alone
_IDR = 5  # NAL unit of a frame that no later one looks past


class Damaged(Exception):
    """The file ends or breaks before the frames that are needed."""


class Picture(NamedTuple):
    """A decoded frame, with the transfer characteristics and colour primaries of its stream (ITU-T H.273)."""

    frame: Any
    transfer: int
    primaries: int


@contextlib.contextmanager
def opened(path: Path, *, strict: bool = True) -> Iterator[tuple[Any, Any]]:
    """The opened container and its video stream; with ``strict``, the decoder refuses damaged data."""
    import av

    # The prefix keeps a file name with a colon from being read as an address; titles need not be UTF-8.
    options = {"format_whitelist": _CONTAINERS}
    with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
        stream = _main_stream(container)
        if stream is None or stream.codec_context is None:
            if cut_short(path):
                raise Damaged("the index is incomplete")
            if stream is None:
                sound = " (audio only)" if container.streams.audio else ""
                raise InputError(f"{path}: has no picture{sound}; give a video")
            raise InputError(f"{path}: its codec cannot be decoded here; re-encode it, for example to H.264")
        if strict:
            stream.codec_context.options = {"err_detect": "explode"}
        yield container, stream


def _main_stream(container: Any) -> Any | None:
    from av.stream import Disposition

    aside = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    streams = [s for s in container.streams.video if not s.disposition & aside]
    chosen = [s for s in streams if s.disposition & Disposition.default] or streams
    moving = [s for s in chosen if s.codec_context is not None and s.frames != 1] or chosen
    return moving[0] if moving else None


def decode(path: Path, progress: list[int]) -> Iterator[Picture]:
    """All frames in order of display; ``progress[0]`` counts them. Raises Damaged, FFmpegError or InputError."""
    from av.error import FFmpegError

    progress[0] = 0
    try:
        for picture in _decode(path, strict=True):
            progress[0] += 1
            yield picture
        return
    except FFmpegError:
        if not _starts_open(path):
            raise
    done = progress[0]
    for number, picture in enumerate(_decode(path, strict=False)):
        if picture.frame.is_corrupt:
            raise Damaged("a frame is incomplete")
        if number >= done:
            progress[0] += 1
            yield picture


def _decode(path: Path, *, strict: bool) -> Iterator[Picture]:
    with opened(path, strict=strict) as (container, stream):
        seen = _Seen()
        yield from pictures(container, stream, seen)
        if cut_short(path) and not _complete(container, stream, seen):
            raise Damaged("the file ends too early")


@dataclass
class _Seen:
    """packets: how many came.  end: the latest time, in seconds, at which one of them ends."""

    packets: int = 0
    end: float = 0.0


def _complete(container: Any, stream: Any, seen: _Seen) -> bool:
    """Whether every frame came though the file ends before its container says: the outer length is wrong."""
    name = container.format.name
    if ("mov" in name or "avi" in name) and stream.frames:
        return seen.packets >= stream.frames
    if "matroska" in name and stream.average_rate:
        return seen.end >= _duration(container, stream) - 0.5 / float(stream.average_rate)
    return False


def _duration(container: Any, stream: Any) -> float:
    """Seconds that a Matroska stream says it lasts; without a word, endless."""
    if hit := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", "")):
        return 3600 * int(hit[1]) + 60 * int(hit[2]) + float(hit[3])
    return container.duration / 1e6 if container.duration else float("inf")


def pictures(container: Any, stream: Any, seen: _Seen | None = None) -> Iterator[Picture]:
    """Frames in order of display from where the container stands; see the top of this file for what is left out."""
    from av.error import FFmpegError

    seen, context = seen or _Seen(), stream.codec_context
    key: int | None = None
    begun, leading = False, True
    for packet in container.demux(stream):
        if packet.is_corrupt and begun:
            raise Damaged("a packet is incomplete")
        if packet.is_keyframe and not begun:
            begun, key = True, packet.pts
        elif begun and None not in (packet.pts, key) and packet.pts > key:
            leading = False
        seen.packets += packet.size > 0
        if packet.pts is not None and packet.size:
            duration = packet.duration or (1 / (stream.average_rate * packet.time_base) if stream.average_rate else 0)
            seen.end = max(seen.end, float((packet.pts + duration) * packet.time_base))
        early = not begun or (leading and packet.pts is not None and key is not None and packet.pts < key)
        try:
            frames = packet.decode()
        except FFmpegError:
            if not early:
                raise
            continue
        for frame in frames:
            begun = begun or frame.pict_type == _INTRA
            if begun:
                yield Picture(frame, context.color_trc, context.color_primaries)


def _starts_open(path: Path) -> bool:
    """Whether an H.264 stream begins with a keyframe that later frames may look past (no IDR picture)."""
    with opened(path) as (container, stream):
        if stream.codec_context.name != "h264":
            return False
        key = next((packet for packet in container.demux(stream) if packet.is_keyframe), None)
        if key is None:
            return False
        extra, data = stream.codec_context.extradata or b"", bytes(key)
        kinds = _units(data, (extra[4] & 3) + 1) if extra[:1] == b"\1" else _units_by_start_code(data)
        return _IDR not in kinds


def _units(data: bytes, width: int) -> set[int]:
    """Types of the NAL units of a packet, each after its length of ``width`` bytes (ISO/IEC 14496-15)."""
    place, kinds = 0, set()
    while place + width < len(data):
        kinds.add(data[place + width] & 31)
        place += width + int.from_bytes(data[place : place + width], "big")
    return kinds


def _units_by_start_code(data: bytes) -> set[int]:
    """Types of the NAL units of a packet, each after the bytes 0 0 1 (ITU-T H.264, annex B)."""
    return {unit[0] & 31 for unit in data.split(b"\0\0\1")[1:] if unit}


def upright(picture: Picture) -> np.ndarray:
    """RGB uint8 [height, width, 3] of a decoded frame, turned and mirrored as its display matrix asks for."""
    frame = picture.frame
    if picture.transfer in NAMES:
        pixels = to_sdr(frame.to_ndarray(format="rgb48le"), picture.transfer, picture.primaries)
    else:
        pixels = frame.to_ndarray(format="rgb24")
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    # A point (x, y) is shown at (a x + c y, b x + d y); the matrix is stored as a b u, c d v, x y w.
    a, b, _, c, d = np.sign(np.rint(np.frombuffer(data, np.int32)[:5] / 65536).astype(int))
    if a == 0 and d == 0 and b and c:
        return pixels.swapaxes(0, 1)[:: int(b), :: int(c)]
    return pixels[:: int(d) or 1, :: int(a) or 1]
