"""Is a video file whole? A look at the lengths that its container declares, without decoding.

A reader that meets the end of a truncated file often takes it for the end of the clip. The containers say how
long they are, so the two can be told apart exactly:
    mp4, mov    every top-level box carries its size           ISO/IEC 14496-12, 4.2
    webm, mkv   the segment carries its size, unless streamed  RFC 8794 (EBML), RFC 9559 (Matroska)
    avi         every RIFF chunk carries its size
    gif         the last byte is the trailer 0x3B
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def cut_short(path: Path) -> bool:
    """Whether the file ends before its container says; False where the container does not tell."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == _EBML:
            return _matroska_end(file) > size
        if start[:4] == b"RIFF":
            return _chunks_end(file, size, _riff_length) > size
        if start[:3] == b"GIF":
            return not _gif_ends(file, size)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
            return _chunks_end(file, size, _box_length) > size
    return False


def _chunks_end(file: BinaryIO, size: int, length: Callable[[bytes, int], int | None]) -> int:
    """Where the last of the chunks that follow each other in the file says that it ends."""
    place = 0
    while place < size:
        file.seek(place)
        step = length(file.read(16), size - place)
        if step is None:
            return size
        place += step
    return place


def _box_length(header: bytes, rest: int) -> int | None:
    length = int.from_bytes(header[:4], "big")
    if length == 0 or len(header) < 8:  # a box up to the end of the file; stray bytes at the end
        return rest
    if length == 1:
        length = int.from_bytes(header[8:16], "big")
    return length if length >= 8 else None


def _riff_length(header: bytes, rest: int) -> int | None:
    return 8 + int.from_bytes(header[4:8], "little") if header[:4] == b"RIFF" else None


def _matroska_end(file: BinaryIO) -> int:
    """The end of the first segment; 0 where its size is left open, as in streams."""
    file.seek(0)
    head = file.read(4096)
    place = head.find(_SEGMENT)
    if place < 0 or place + 12 > len(head):
        return 0
    place += 4
    width = 9 - head[place].bit_length()  # the position of the leading one gives the number of bytes
    if width > 8:
        return 0
    value = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
    return 0 if value == (1 << 7 * width) - 1 else place + width + value


def _gif_ends(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - 64), os.SEEK_SET)
    return file.read().rstrip(b"\0").endswith(b";")
