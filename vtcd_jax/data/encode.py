"""Frames into an H.264 video that browsers play, by PyAV."""

from __future__ import annotations

import io
import os
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import write_bytes


def write_video(
    target: str | os.PathLike | io.IOBase, frames: np.ndarray, fps: float | int = 12.0, *, quality: int = 20
) -> None:
    """Writes mp4 (H.264, yuv420p, BT.709, index first) to a path, whole or not at all, or to a binary file.

    frames:  uint8 RGB [time, height, width, 3]; an odd height or width grows by one repeated row or column.
    fps:     frames per second, > 0.
    quality: x264's constant rate factor, 0 (lossless) to 51 (worst).

    The same frames give the same bytes on one machine. Raises InputError for frames of another shape or
    dtype.
    """
    data = encode_video(frames, fps, quality=quality)
    if isinstance(target, (str, os.PathLike)):
        write_bytes(Path(target), data)
    else:
        target.write(data)


def encode_video(frames: np.ndarray, fps: float | int = 12.0, *, quality: int = 20) -> bytes:
    """The bytes of ``write_video``."""
    import av

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise InputError(
            f"a video is uint8 [time, height, width, 3] with at least one frame, got {frames.dtype}"
            f" {list(frames.shape)}"
        )
    if not fps > 0:
        raise InputError(f"frames per second must be positive, got {fps}")
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # The index can only be moved to the front of a file that can be read back: hence no buffer.
    with tempfile.TemporaryDirectory(prefix="vtcd-") as folder:
        path = Path(folder) / "video.mp4"
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with av.open(str(path), "w", format="mp4", options=options) as container:
            _encode(container, frames, Fraction(fps).limit_denominator(60_000), quality)
        return path.read_bytes()


def _encode(container, frames: np.ndarray, rate: Fraction, quality: int) -> None:
    import av
    from av.video.reformatter import Colorspace

    stream = container.add_stream("libx264", rate=rate)
    stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
    # Without cpu-independent, x264's vector code gives different bytes from run to run, even on one thread.
    stream.options = {
        "crf": str(quality),
        "preset": "medium",
        "threads": "1",
        "x264-params": "cpu-independent=1",
    }
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
