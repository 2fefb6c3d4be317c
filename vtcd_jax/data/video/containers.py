"""What a video file is, and whether it is whole: a look at its bytes, without decoding.

A reader that meets the end of a truncated file often takes it for the end of the clip. The containers say how
long they are, so the two can be told apart:
    mp4, mov    every top-level box carries its size           ISO/IEC 14496-12, 4.2
    webm, mkv   the segment carries its size, unless streamed  RFC 8794 (EBML), RFC 9559 (Matroska)
    avi         every RIFF chunk carries its size
    gif         blocks follow each other up to a trailer       GIF89a, 12 to 27
Bytes behind the end are no matter. A length may also be wrong though every frame is there: who has decoded the
frames knows, and asks here only after that.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_BOXES = frozenset(b"ftyp moov mdat free skip wide moof mfra sidx styp ssix prft emsg meta uuid pdin pnot udta".split())
# Containers by their first bytes, and the suffixes under which they usually go.
_KINDS: tuple[tuple[str, int, bytes, tuple[str, ...]], ...] = (
    ("MP4", 4, b"ftyp", (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v")),
    ("QuickTime", 4, b"moov", (".mp4", ".m4v", ".mov", ".qt")),
    ("QuickTime", 4, b"mdat", (".mp4", ".m4v", ".mov", ".qt")),
    ("QuickTime", 4, b"wide", (".mp4", ".m4v", ".mov", ".qt")),
    ("Matroska or WebM", 0, _EBML, (".mkv", ".webm")),
    ("AVI", 8, b"AVI ", (".avi", ".divx")),
    ("GIF", 0, b"GIF8", (".gif",)),
    ("FLV", 0, b"FLV\x01", (".flv", ".f4v")),
    ("Ogg", 0, b"OggS", (".ogv", ".ogm")),
    ("ASF (WMV)", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", (".wmv", ".asf")),
    ("MPEG program stream", 0, b"\x00\x00\x01\xba", (".mpg", ".mpeg", ".mpe", ".vob", ".m2v")),
    ("MPEG video", 0, b"\x00\x00\x01\xb3", (".mpg", ".mpeg", ".mpe", ".m1v", ".m2v")),
    ("raw H.264 or H.265", 0, b"\x00\x00\x00\x01", (".h264", ".264", ".h265", ".265", ".hevc")),
    ("MXF", 0, b"\x06\x0e\x2b\x34", (".mxf",)),
    ("RealMedia", 0, b".RMF", (".rm", ".rmvb")),
    ("JPEG", 0, b"\xff\xd8\xff", (".jpg", ".mjpeg", ".mjpg")),
    ("PNG", 0, b"\x89PNG", (".png",)),
    ("WebP", 8, b"WEBP", (".webp",)),
    ("PDF", 0, b"%PDF", (".pdf",)),
    ("zip", 0, b"PK\x03\x04", (".zip",)),
    ("gzip", 0, b"\x1f\x8b", (".gz",)),
    ("git-lfs pointer", 0, b"version https://git-lfs", ()),
    ("web page", 0, b"<!DOCTYPE", ()),
    ("web page", 0, b"<html", ()),
)


def container_of(path: Path) -> tuple[str, bool] | None:
    """(name of the container by the file's first bytes, whether the suffix says so too); None where unknown."""
    with path.open("rb") as file:
        head = file.read(1024)
    suffix = path.suffix.lower()
    for name, place, magic, suffixes in _KINDS:
        if head[place : place + len(magic)].lower() == magic.lower():
            return name, suffix in suffixes
    for first, packet in ((0, 188), (4, 192)):  # 188 bytes a packet, or 192 with a time before each
        if len(head) > first + 2 * packet and all(head[first + i * packet] == 0x47 for i in range(3)):
            return "MPEG-TS", suffix in (".ts", ".mts", ".m2ts", ".m2t")
    return None


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
            return not _gif_ends(file)
        if start[4:8] in _BOXES:
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
    if length == 0 or header[4:8] not in _BOXES:  # a box up to the end of the file; stray bytes at the end
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


def _gif_ends(file: BinaryIO) -> bool:
    """Whether the blocks of a GIF are whole; that the trailer behind them is there is not asked for."""
    file.seek(6)
    screen = file.read(7)
    if len(screen) < 7:
        return False
    file.seek(_colours(screen[4]), 1)
    while True:
        kind = file.read(1)
        if kind == b"\x2c":
            place = file.read(9)
            if len(place) < 9:
                return False
            file.seek(_colours(place[8]) + 1, 1)
        elif kind == b"\x21":
            if not file.read(1):
                return False
        else:  # the trailer, the end of the file, or stray bytes
            return True
        if not _skip_blocks(file):
            return False


def _colours(flags: int) -> int:
    """Bytes of the table of colours that the flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_blocks(file: BinaryIO) -> bool:
    while length := file.read(1):
        if length == b"\0":
            return True
        if len(file.read(length[0])) < length[0]:
            return False
    return False
