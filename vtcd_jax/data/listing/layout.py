"""Where the clips of a folder are, and what they are called.

    clips/x.mp4                       a video file
    clips/y/00000.jpg, 00001.jpg, …   a folder of numbered frames is one clip
    clips/z/frames/00000.jpg, …       likewise, called z; masks of the same numbers may lie in clips/z/masks
    clips/<class name>/x.mp4          a folder that is called like a class labels the clips below it
For a network that takes one frame, each image is a clip instead. Images beside a video file belong to that video;
hidden files, thumbnails, recycle bins, and masks beside the pictures that they are of are no clips. A folder that is
reached twice is read once, under its name without a link. Videos and images that are left out are named in one
warning. Order is by name, with numbers in their natural order.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vtcd_jax.base.errors import InputError

from ..notices import InputWarning, printable, some, warn
from . import kinds
from .search import Source, Walk, natural, search

__all__ = ["Listing", "Source", "find_clips", "list_clips"]


@dataclass(frozen=True)
class Listing:
    """sources: the clips, in a fixed order.  problems: name of a clip -> why it cannot be one."""

    sources: tuple[Source, ...]
    problems: dict[str, str]


def find_clips(paths: str | os.PathLike | Iterable[str | os.PathLike], *, images: bool = False) -> list[Source]:
    """All clips at or below ``paths`` (a file, a folder, or a list of either), in a fixed order.

    images: each image is a clip, for networks that take one frame.

    Warns (InputWarning, once per path) about videos and images that are left out. Raises InputError where a path
    does not exist, holds no clip or a folder that cannot be one, or one clip is named twice.
    """
    listing = list_clips(paths, images=images)
    if listing.problems:
        raise InputError("\n".join(listing.problems.values()))
    return list(listing.sources)


def list_clips(paths: str | os.PathLike | Iterable[str | os.PathLike], *, images: bool = False) -> Listing:
    """``find_clips`` that returns what cannot be a clip rather than raising an InputError about it."""
    roots = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not roots:
        raise InputError("no clips: the list of paths is empty; give video files or folders")
    listed = [(Path(root), _list(Path(root), images)) for root in roots]
    counts = Counter(source.name for _, listing in listed for source in listing.sources)
    sources = [
        replace(source, name=_full_name(root, source)) if counts[source.name] > 1 else source
        for root, listing in listed
        for source in listing.sources
    ]
    twice = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: listed twice; name each clip once")
    return Listing(tuple(sources), {name: text for _, each in listed for name, text in each.problems.items()})


def _full_name(root: Path, source: Source) -> str:
    return printable(source.path.as_posix() if root.is_file() else (root / source.name).as_posix())


def _list(root: Path, images: bool) -> Listing:
    if root.is_file():
        return Listing((_single(root, images),), {})
    if not root.is_dir():
        raise InputError(f"{root}: {'a link to nothing' if root.is_symlink() else 'no such file or folder'}")
    walk = Walk(images)
    sources = search(root, walk)
    words = "; ".join(f"{len(paths)} {reason}: {some(_short(paths, root))}" for reason, paths in walk.left.items())
    if not sources and not walk.problems:
        wanted = "images" if images else "folders of numbered frames"
        raise InputError(
            f"{root}: no clips in it; expected videos (mp4, webm, mkv, mov, avi, mpg, wmv, ts, flv, gif, ...)"
            f" or {wanted} (jpg, png, tif, bmp, webp, ...)" + (f"; {words}" if words else "")
        )
    if words:
        warn(InputWarning(f"{root}: {words}"))
    sources.sort(key=lambda source: [natural(part) for part in source.name.split("/")])
    top = root.absolute().name
    return Listing(
        tuple(replace(s, name=s.name or printable(top), folders=(top, *s.folders)) for s in sources), walk.problems
    )


def _short(paths: list[str], root: Path) -> list[str]:
    start, above = printable(str(root)) + os.sep, printable(str(root.parent)) + os.sep
    return [path.removeprefix(start if path.startswith(start) else above) for path in paths]


def _single(path: Path, images: bool) -> Source:
    above = (path.absolute().parent.name,)
    if kinds.suffix_of(path.name) not in kinds.IMAGE_SUFFIXES:
        return Source(printable(path.name), path, above)
    if not images:
        raise InputError(f"{path}: a single image is no clip; give its folder of numbered frames")
    return Source(printable(path.name), path, above, (path,))
