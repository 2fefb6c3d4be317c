"""Frames into videos that browsers and slides play: mp4 (H.264) and webm (VP9) by PyAV, gif by Pillow."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import write_bytes


@dataclass(frozen=True)
class _Codec:
    """name: FFmpeg's.  worst: its largest constant rate factor.  stream, container: its options."""

    name: str
    worst: int
    stream: Mapping[str, str]
    container: Mapping[str, str]


# Without cpu-independent, x264's vector code gives different bytes from run to run, even on one thread.
_X264 = {"preset": "medium", "threads": "1", "x264-params": "cpu-independent=1"}
_VP9 = {"b": "0", "threads": "1", "cpu-used": "2"}
_CODECS = {
    ".mp4": _Codec("libx264", 51, _X264, {"movflags": "+faststart", "fflags": "+bitexact"}),
    ".webm": _Codec("libvpx-vp9", 63, _VP9, {"fflags": "+bitexact"}),
}
SUFFIXES = (*_CODECS, ".gif")


def write_video(
    target: str | os.PathLike | io.IOBase, frames: np.ndarray, fps: float | int = 12.0, *, quality: int = 20
) -> None:
    """Writes a video to a path, whole or not at all, in the format of its suffix; to a binary file as mp4.

    .mp4     H.264, yuv420p, BT.709, index first
    .webm    VP9, the same colours
    .gif     256 colours a frame, for ever; frames last whole hundredths of a second

    frames:  uint8 RGB [time, height, width, 3]; for mp4 and webm an odd height or width grows by one repeated row or
             column.
    fps:     frames per second, > 0.
    quality: constant rate factor of x264, 0 (lossless) to 51 (worst), and of VP9 at the same fraction of its range; a
             gif has none.

    The same frames give the same bytes on one machine. Raises InputError for frames of another shape or dtype, and for
    a suffix that cannot be written.
    """
    if not isinstance(target, (str, os.PathLike)):
        target.write(encode_video(frames, fps, quality=quality))
        return
    suffix = check_suffix(target)
    write_bytes(Path(target), encode_video(frames, fps, quality=quality, suffix=suffix))


def check_suffix(path: str | os.PathLike) -> str:
    """The suffix of a video's path, in small letters. Raises InputError for one that cannot be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        kind = suffix or "a file without suffix"
        raise InputError(f"{os.fspath(path)}: cannot write {kind}; use {', '.join(SUFFIXES)}")
    return suffix


def encode_video(frames: np.ndarray, fps: float | int = 12.0, *, quality: int = 20, suffix: str = ".mp4") -> bytes:
    """The bytes of ``write_video``."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise InputError(
            f"a video is uint8 [time, height, width, 3] with at least one frame, got {frames.dtype}"
            f" {list(frames.shape)}"
        )
    if not fps > 0:
        raise InputError(f"frames per second must be positive, got {fps}")
    return _gif(frames, fps) if suffix == ".gif" else _by_codec(frames, fps, quality, suffix)


def _gif(frames: np.ndarray, fps: float | int) -> bytes:
    from PIL import Image

    pictures, data = [Image.fromarray(frame) for frame in frames], io.BytesIO()
    duration = max(10, round(100 / fps) * 10)  # milliseconds
    pictures[0].save(data, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0, optimize=False)
    return data.getvalue()


def _by_codec(frames: np.ndarray, fps: float | int, quality: int, suffix: str) -> bytes:
    import av

    codec, (_, height, width, _) = _CODECS[suffix], frames.shape
    factor = round(quality * codec.worst / 51)
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # The index can only be moved to the front of a file that can be read back: hence no buffer.
    with tempfile.TemporaryDirectory(prefix="vtcd-") as folder:
        path = Path(folder) / f"video{suffix}"
        with av.open(str(path), "w", format=suffix[1:], options=dict(codec.container)) as container:
            _encode(container, frames, Fraction(fps).limit_denominator(60_000), codec, factor)
        return path.read_bytes()


def _encode(container, frames: np.ndarray, rate: Fraction, codec: _Codec, factor: int) -> None:
    import av
    from av.video.reformatter import Colorspace

    stream = container.add_stream(codec.name, rate=rate)
    stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
    stream.options = {"crf": str(factor), **codec.stream}
    context = stream.codec_context
    context.color_range = 1  # limited; and BT.709 three times: matrix, primaries, transfer
    context.colorspace = context.color_primaries = context.color_trc = 1
    for frame in frames:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        for packet in stream.encode(picture):
            container.mux(packet)
    for packet in stream.encode():
        container.mux(packet)
