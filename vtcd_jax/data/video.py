"""Frames out of video files, by PyAV (FFmpeg's libraries).

Only the sampled frames are converted and kept, so memory does not grow with the length of a video. "first"
stops decoding at the last frame it needs. "uniform" reads the packets once without decoding, to count frames
and find keyframes, and then jumps to the keyframe before each frame it needs; where packets do not stand one
for a frame, it decodes twice instead, with the same frames as result.

A damaged file is refused when the decoder meets the damage before the last frame that is needed: it is told to
stop at errors rather than to paint over them. Damage in parts that need not be decoded goes unseen, and so does a
flipped bit that leaves a stream the codec allows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import count as counting
from pathlib import Path
from typing import Any

import numpy as np

from vtcd_jax.data.containers import cut_short
from vtcd_jax.data.sampling import Sampling, first_indices, needed, too_short, uniform_indices
from vtcd_jax.models.errors import InputError

# Only these readers may open a file: else FFmpeg would follow a playlist that is named .mp4 to other files.
_CONTAINERS = "mov,mp4,matroska,webm,avi,gif"
_PACKET_IS_FRAME = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d"})
_ATTACHED_PICTURE = 0x400  # a cover image, stored as a video stream of one frame

Convert = Callable[[np.ndarray], np.ndarray]


class _Damaged(Exception):
    """The file ends or breaks before the frames that are needed."""


class _NoSeek(Exception):
    """The frame at a packet's time was not found after a jump."""


def sample_video(path: Path, sampling: Sampling, *, num_frames: int, stride: int, convert: Convert) -> np.ndarray:
    """The sampled frames of one file, each put through ``convert`` (RGB uint8 [height, width, 3], upright).

    Returns [num_frames, ...]. Raises InputError, naming the file, where it is no video, has no picture, is
    damaged before the last frame that is needed, or is too short and ``sampling.short`` is "refuse".
    """
    from av.error import FFmpegError

    progress = [0]
    try:
        if sampling.kind == "first":
            frames, seen = _pick(_decode(path, progress), first_indices(num_frames, stride, sampling.start), convert)
        else:
            frames, seen = _sample_uniform(path, num_frames, convert, progress)
    except (FFmpegError, _Damaged) as error:
        raise InputError(_complaint(path, progress[0], error)) from error
    if not frames:
        raise InputError(f"{path}: not one frame could be decoded; re-encode or replace the file")
    refused = sampling.short == "refuse" or seen <= sampling.start
    if seen < needed(sampling, num_frames, stride) and refused:
        raise too_short(str(path), seen, sampling, num_frames, stride)
    return np.stack(frames + [frames[-1]] * (num_frames - len(frames)))


def _sample_uniform(path: Path, num_frames: int, convert: Convert, progress: list[int]) -> tuple[list, int]:
    times = _packet_times(path)
    if times is not None:
        shown, keys = times
        indices = uniform_indices(len(shown), num_frames)
        with contextlib.suppress(_NoSeek):
            return _pick_at(path, [shown[i] for i in indices], keys, convert), len(shown)
    seen = sum(1 for _ in _decode(path, progress))
    frames, _ = _pick(_decode(path, progress), uniform_indices(seen, num_frames), convert)
    return frames, seen


def _pick(frames: Iterable[Any], indices: list[int], convert: Convert) -> tuple[list[np.ndarray], int]:
    """The frames at ascending ``indices``, and how many frames were seen.

    Where the frames end early and the last one was not taken, it is added, to be repeated by the caller.
    """
    picked: list[np.ndarray] = []
    seen, last = 0, None
    for seen, frame in zip(counting(1), frames, strict=False):
        last = frame
        if seen - 1 == indices[len(picked)]:
            picked.append(convert(upright(frame)))
            last = None
            if len(picked) == len(indices):
                break
    if last is not None:
        picked.append(convert(upright(last)))
    return picked, seen


def _pick_at(path: Path, times: list[int], keys: list[int], convert: Convert) -> list[np.ndarray]:
    """The frames shown at ascending ``times``; jumps where a keyframe lies between one and the next."""
    from av.error import FFmpegError

    picked: list[np.ndarray] = []
    with _open(path) as (container, stream):
        frames, place = _packets_to_frames(container, stream), min(keys, default=0)
        for time in times:
            key = max((k for k in keys if k <= time), default=None)
            try:
                if key is not None and key > place:
                    container.seek(key, stream=stream, backward=True)
                    frames = _packets_to_frames(container, stream)
                frame = next((f for f in frames if f.pts is None or f.pts >= time), None)
            except (FFmpegError, _Damaged) as error:
                raise _NoSeek from error  # decoding from the start tells what is at fault, file or jump
            if frame is None or frame.pts != time:
                raise _NoSeek
            picked.append(convert(upright(frame)))
            place = time
    return picked


def _packet_times(path: Path) -> tuple[list[int], list[int]] | None:
    """Times of all frames and of the keyframes, ascending, from the packets; None where they do not tell."""
    from av.error import FFmpegError

    shown: list[int] = []
    keys: list[int] = []
    with contextlib.suppress(FFmpegError), _open(path) as (container, stream):
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
        if len(set(shown)) == len(shown) and not cut_short(path):
            return sorted(shown), sorted(keys)
    return None


def _decode(path: Path, progress: list[int]) -> Iterator[Any]:
    """All frames in order of display; ``progress[0]`` counts them."""
    progress[0] = 0
    with _open(path) as (container, stream):
        for frame in _packets_to_frames(container, stream):
            progress[0] += 1
            yield frame
    if cut_short(path):
        raise _Damaged("the file ends too early")


def _packets_to_frames(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise _Damaged("a packet is incomplete")
        yield from packet.decode()


@contextlib.contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """The opened container and its first real video stream; the decoder refuses damaged data."""
    import av

    # The prefix keeps a file name with a colon from being read as an address; titles need not be UTF-8.
    options = {"format_whitelist": _CONTAINERS}
    with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
        streams = [s for s in container.streams.video if not int(s.disposition) & _ATTACHED_PICTURE]
        if not streams and cut_short(path):
            raise _Damaged("the index is incomplete")
        if not streams:
            sound = " (audio only)" if container.streams.audio else ""
            raise InputError(f"{path}: has no picture{sound}; give a video")
        if streams[0].codec_context is None:
            if cut_short(path):
                raise _Damaged("the index is incomplete")
            raise InputError(f"{path}: its codec cannot be decoded here; re-encode it, for example to H.264")
        streams[0].codec_context.options = {"err_detect": "explode"}
        yield container, streams[0]


def upright(frame: Any) -> np.ndarray:
    """RGB uint8 [height, width, 3] of a decoded frame, turned and mirrored as its display matrix asks for."""
    pixels = frame.to_ndarray(format="rgb24")
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    # A point (x, y) is shown at (a x + c y, b x + d y); the matrix is stored as a b u, c d v, x y w.
    a, b, _, c, d = np.sign(np.rint(np.frombuffer(data, np.int32)[:5] / 65536).astype(int))
    if a == 0 and d == 0 and b and c:
        return pixels.swapaxes(0, 1)[:: int(b), :: int(c)]
    return pixels[:: int(d) or 1, :: int(a) or 1]


def _complaint(path: Path, decoded: int, error: Exception) -> str:
    if path.stat().st_size == 0:
        return f"{path}: the file is empty; copy or download it again"
    if cut_short(path):
        where = f"after {decoded} frames" if decoded else "before its first frame"
        return f"{path}: the file is cut short ({where}); copy or download it again"
    if decoded:
        return f"{path}: damaged after {decoded} frames; re-encode or replace the file"
    return f"{path}: not a video that can be read ({_reason(error)}); give mp4, webm, mkv, mov, avi or gif"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
