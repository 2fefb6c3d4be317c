"""Tiny videos for the tests, made with PyAV: a code in large grey fields tells which frame is which."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

BITS = 6


def numbered(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 [count, height, width, 3]; frame i shows the bits of i as dark and bright columns, red on top."""
    frames = np.full((count, height, width, 3), 40, np.uint8)
    for i in range(count):
        for bit in range(BITS):
            if i >> bit & 1:
                left, right = bit * width // BITS, (bit + 1) * width // BITS
                frames[i, :, left:right] = 215
        frames[i, : height // 3] = (200, 30, 30)
    return frames


def read_number(frame: np.ndarray) -> int:
    """Which frame of ``numbered`` this is, from its lower part."""
    height, width = frame.shape[:2]
    row = frame[height * 3 // 4].mean(-1)
    centres = [int((bit + 0.5) * width / BITS) for bit in range(BITS)]
    return sum(int(row[c] > 128) << bit for bit, c in enumerate(centres))


def numbers(clip: np.ndarray) -> list[int]:
    return [read_number(frame) for frame in clip]


def write(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    times: list[int] | None = None,
    gop: int = 8,
    muxer: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
) -> Path:
    """A video file of any codec; ``times`` are in frames at 24 per second, for a variable frame rate."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream: Any = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        stream.codec_context.gop_size = gop
        stream.options = encoder or {}
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times is not None:
                picture.pts = times[i]
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def write_audio(path: Path) -> Path:
    """A file with sound and no picture."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        for _ in range(20):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16000
            container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Writes a display matrix (entries -1, 0, 1) into the track header of an mp4 file."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # version, times, id, duration, layer, volume: 40 bytes in version 0
    one = 1 << 16
    data[start : start + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def write_frames(folder: Path, frames: np.ndarray, pattern: str = "{:05d}.png", start: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / pattern.format(start + i))
    return folder
