"""The walk through a folder that finds its clips, and keeps account of what it leaves out."""

from __future__ import annotations

import os
import re
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from vtcd_jax.base.errors import InputError

from ..notices import printable
from . import kinds
from .series import Series, find_series

NO_FRAME = "images that are no numbered frames, left out"
BESIDE = "images beside a video, left out"
ODD = "clips whose frame numbers have gaps or doubles, read as they are"
TWICE = "links to folders that are listed already, left out"
DEAD = "links to nothing, left out"
COPIED = "links to folders that were copied as text, left out"
SYSTEM = "hidden files or folders, thumbnails or deleted files, left out"
ANSWERS = "folders of masks beside their pictures, left out"
OTHER = "files of kinds that are not read, left out (convert them)"
NO_STREAM = "files named .ts that hold no video, left out"
SPECIAL = "special files, left out"


@dataclass(frozen=True)
class Source:
    r"""One clip on the disk.

    name:    unique name, a path below the folder that was searched; bytes that are no UTF-8 stand as \xNN
    path:    the video file, the image, or the folder of the clip
    folders: names of the folders above it, from the one that was searched down; a class may be among them
    frames:  the images in order; empty for a video file
    masks:   a folder of masks with the same stems as the frames, or None
    """

    name: str
    path: Path
    folders: tuple[str, ...] = ()
    frames: tuple[Path, ...] = ()
    masks: Path | None = None


@dataclass(frozen=True)
class Walk:
    """One search.

    images:   each image is a clip.
    visited:  folders that were searched, by device and number.
    links:    links to folders, searched last so that a folder is read under its name without a link.
    left:     what was left out, by reason.
    problems: name of a clip -> why it cannot be one.
    """

    images: bool
    visited: set[tuple[int, int]] = field(default_factory=set)
    links: deque[tuple[Path, tuple[str, ...]]] = field(default_factory=deque)
    left: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def leave(self, reason: str, *paths: Path) -> None:
        """Notes what is left out. Paths are made short by ``search``'s caller, who knows where it began."""
        if paths:
            self.left.setdefault(reason, []).extend(printable(str(path)) for path in paths)


@dataclass
class _Content:
    """The entries of one folder, sorted by kind: names of files, and of folders with whether they are links."""

    videos: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    folders: dict[str, bool] = field(default_factory=dict)


def search(root: Path, walk: Walk) -> list[Source]:
    """The clips at or below a folder; fills ``walk.left`` and ``walk.problems``."""
    sources = _below(root, (), walk)
    while walk.links:
        sources += _below(*walk.links.popleft(), walk)
    return sources


def natural(name: str) -> tuple:
    """Sorting key that puts x2 before x10."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(p), p) if i % 2 else (p,) for i, p in enumerate(parts))


def _below(folder: Path, below: tuple[str, ...], walk: Walk) -> list[Source]:
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in walk.visited:
            walk.leave(TWICE, folder)
            return []
        walk.visited.add((status.st_dev, status.st_ino))
        content = _content(folder, walk)
    except OSError as error:
        walk.problems[str(folder)] = f"{folder}: cannot be searched ({error.strerror}); make it readable, or remove it"
        return []
    sources = [Source(_name(below, name), folder / name, below) for name in content.videos]
    if walk.images:
        sources += _single_images(folder, below, content)
    elif content.videos:
        walk.leave(BESIDE, *(folder / name for name in content.images))
    else:
        sources += _frames(folder, below, content, walk)
    for name, linked in content.folders.items():
        if linked:
            walk.links.append((folder / name, (*below, name)))
        else:
            sources += _below(folder / name, (*below, name), walk)
    return sources


def _name(below: tuple[str, ...], *last: str) -> str:
    return printable("/".join((*below, *last)))


def _content(folder: Path, walk: Walk) -> _Content:
    content = _Content()
    with os.scandir(folder) as entries:
        every = sorted(entries, key=lambda entry: natural(entry.name))
    for entry in every:
        _sort(entry, folder / entry.name, content, walk)
    for name in list(content.folders):
        if kinds.are_answers(name, [n for n in content.folders if n != name], bool(content.videos)) and not (
            name == "masks" and "frames" in content.folders
        ):
            del content.folders[name]
            if kinds.holds_media(folder / name):
                walk.leave(ANSWERS, folder / name)
    return content


def _sort(entry: os.DirEntry, path: Path, content: _Content, walk: Walk) -> None:
    """Puts one entry where it belongs: among the content, or what is left out."""
    suffix, media = kinds.suffix_of(entry.name), kinds.is_media(entry.name)
    if entry.is_dir():
        if not kinds.is_system(entry.name):
            content.folders[entry.name] = entry.is_symlink()
        elif kinds.holds_media(path):
            walk.leave(SYSTEM, path)
    elif not entry.is_file():
        walk.leave(DEAD if entry.is_symlink() else SPECIAL, *([path] if media or entry.is_symlink() else []))
    elif not media:
        if not kinds.is_system(entry.name) and not suffix and kinds.copied_link(path):
            walk.leave(COPIED, path)
    elif kinds.is_system(entry.name):
        walk.leave(SYSTEM, path)
    elif suffix in kinds.OTHER_SUFFIXES:
        walk.leave(OTHER, path)
    elif suffix in kinds.IMAGE_SUFFIXES:
        content.images.append(entry.name)
    elif suffix == ".ts" and not kinds.is_transport_stream(path):
        walk.leave(NO_STREAM, path)
    else:
        content.videos.append(entry.name)


def _single_images(folder: Path, below: tuple[str, ...], content: _Content) -> list[Source]:
    """Each image as a clip of one frame; images in ``frames`` have their masks in ``masks`` beside it."""
    masks = folder.parent / "masks" if folder.name == "frames" else folder / "masks"
    masks = masks if masks.is_dir() else None
    if content.images or "frames" in content.folders:
        content.folders.pop("masks", None)
    return [Source(_name(below, name), folder / name, below, (folder / name,), masks) for name in content.images]


def _frames(folder: Path, below: tuple[str, ...], content: _Content, walk: Walk) -> list[Source]:
    """The clip that a folder is whose images, or those of its folder ``frames``, are frames; [] if they are none."""
    direct = [folder / name for name in content.images]
    try:
        series = _inner_series(folder, content, walk)
        if series.frames:
            walk.visited.add((os.stat(folder / "frames").st_dev, os.stat(folder / "frames").st_ino))
            del content.folders["frames"]
            walk.leave(NO_FRAME, *direct)
        else:
            _leave_masks(folder, content, walk)
            series = find_series(folder, direct)
    except InputError as error:
        walk.problems[_name(below) or folder.name] = str(error)
        for name in ("frames", "masks"):
            content.folders.pop(name, None)
        return []
    walk.leave(NO_FRAME, *series.left)
    if not series.frames:
        return []
    if series.odd:
        walk.leave(ODD, Path(f"{folder} ({series.odd})"))
    masks = folder / "masks" if content.folders.pop("masks", None) is not None else None
    return [Source(_name(below), folder, below[:-1], series.frames, masks)]


def _leave_masks(folder: Path, content: _Content, walk: Walk) -> None:
    """Of ``frames`` and ``masks`` that hold a folder per clip, the latter holds no clips."""
    if {"frames", "masks"} <= set(content.folders):
        del content.folders["masks"]
        if kinds.holds_media(folder / "masks"):
            walk.leave(ANSWERS, folder / "masks")


def _inner_series(folder: Path, content: _Content, walk: Walk) -> Series:
    """The frames in the folder ``frames`` of a clip; none where it holds videos or folders, which are searched."""
    if "frames" not in content.folders:
        return Series()
    inner = _content(folder / "frames", Walk(walk.images))
    if inner.videos or inner.folders:
        return Series()
    inner = _content(folder / "frames", walk)
    return find_series(folder / "frames", [folder / "frames" / name for name in inner.images])
