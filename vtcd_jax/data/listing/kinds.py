"""Which files are videos and images, and which folders never hold clips, by their names."""

from __future__ import annotations

import os
from pathlib import Path

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".qt", ".webm", ".mkv", ".avi", ".divx", ".gif", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v",
    ".vob", ".wmv", ".asf", ".ts", ".mts", ".m2ts", ".m2t", ".flv", ".f4v", ".ogv", ".ogm", ".3gp", ".3g2", ".mxf",
    ".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".y4m", ".mjpeg", ".mjpg",
)  # fmt: skip
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
# Known, but not read.
OTHER_SUFFIXES = (
    ".rm", ".rmvb", ".swf", ".wtv", ".dv", ".mng", ".apng", ".m3u8", ".mpd", ".heic", ".heif", ".avif", ".jp2", ".j2k",
    ".jxl", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw", ".raw", ".tga", ".psd",
)  # fmt: skip
SAME = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg", ".tiff": ".tif", ".dib": ".bmp"}
# Folders of thumbnails, resource forks and deleted files, of macOS, Windows, Synology, QNAP and Linux desktops.
_SYSTEM = frozenset(
    {
        "@eadir", "@recycle", "@recently-snapshot", "@tmp",
        "#recycle", "#snapshot", "__macosx", "$recycle.bin", "recycler", "recycled",
        "system volume information", "lost+found", "found.000", "thumbnails", "thumbs", "thumb",
    }
)  # fmt: skip
_PICTURES = ("jpegimages", "frames", "images", "rawframes")
_ANSWERS = ("annotations", "annotation", "masks", "mask", "segmentation")


def suffix_of(name: str) -> str:
    """The suffix in lower case."""
    return os.path.splitext(name)[1].lower()


def is_media(name: str) -> bool:
    """Whether a name is that of a video or an image."""
    return suffix_of(name) in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, *OTHER_SUFFIXES)


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or of a kind that a system makes for itself."""
    return name.startswith(".") or name.lower() in _SYSTEM


def holds_media(folder: str | Path) -> bool:
    """Whether a video or an image lies at or below the folder; links are not followed."""
    return any(is_media(name) for _, _, names in os.walk(folder) for name in names)


def are_answers(name: str, beside: list[str], videos: bool) -> bool:
    """Whether a folder holds masks: by its name, and because it lies beside the pictures that they are of."""
    name = name.lower()
    if not any(name == word or name.startswith((f"{word}_", "segmentation")) for word in _ANSWERS):
        return False
    return (videos and name in ("masks", "mask")) or any(other.lower() in _PICTURES for other in beside)


def is_transport_stream(path: str | Path) -> bool:
    """Whether a file begins as MPEG transport streams do: ``.ts`` is also the suffix of TypeScript."""
    with open(path, "rb") as file:
        head = file.read(8)
    return not head or head[:1] == b"G" or head[4:5] == b"G"


def copied_link(path: str | Path) -> str | None:
    """What a link pointed to that became a small text file when it was copied; None for every other file."""
    if os.path.getsize(path) > 1024:
        return None
    with open(path, "rb") as file:
        text = os.fsdecode(file.read()).strip()
    if not text or "\n" in text or "\0" in text or os.path.isabs(text):
        return None
    target = os.path.join(os.path.dirname(path), text)
    return text if os.path.isdir(target) else None
