"""Where the clips of a folder are, what they are called, and which class each belongs to.

    clips/x.mp4                       a video file
    clips/y/00000.jpg, 00001.jpg, …   a folder of numbered frames is one clip
    clips/z/frames/00000.jpg, …       likewise, called z; masks of the same numbers may lie in clips/z/masks
    clips/<class name>/x.mp4          a folder that is called like a class labels the clips below it
Images beside a video file belong to that video and are no clips. Names that start with a dot are left out.
Order is by name, with numbers in their natural order.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vtcd_jax.models.errors import InputError, nearest

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Source:
    """One clip on the disk.

    name:    unique name, a path below the folder that was searched
    path:    the video file, or the folder of the clip
    folders: names of the folders above it, from the one that was searched down; a class may be among them
    frames:  the numbered images in order; empty for a video file
    masks:   a folder of masks with the same stems as the frames, or None
    """

    name: str
    path: Path
    folders: tuple[str, ...] = ()
    frames: tuple[Path, ...] = ()
    masks: Path | None = None


def find_clips(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Source]:
    """All clips at or below ``paths`` (a file, a folder, or a list of either), in a fixed order.

    Raises InputError where a path does not exist, holds no clip, or one clip is named twice.
    """
    roots = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if not roots:
        raise InputError("no clips: the list of paths is empty; give video files or folders")
    found = [(Path(root), _find(Path(root))) for root in roots]
    sources = [source for _, sources in found for source in sources]
    clashes = {name for name, count in Counter(s.name for s in sources).items() if count > 1}
    if clashes:
        sources = [
            replace(s, name=_full_name(root, s)) if s.name in clashes else s for root, group in found for s in group
        ]
    twice = [name for name, count in Counter(s.name for s in sources).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: listed twice; name each clip once")
    return sources


def _full_name(root: Path, source: Source) -> str:
    return source.path.as_posix() if root.is_file() else (root / source.name).as_posix()


def _find(root: Path) -> list[Source]:
    if root.is_file():
        if root.suffix.lower() in IMAGE_SUFFIXES:
            raise InputError(f"{root}: a single image is no clip; give its folder of numbered frames")
        return [Source(root.name, root, (root.absolute().parent.name,))]
    if not root.is_dir():
        raise InputError(f"{root}: no such file or folder")
    sources = sorted(_search(root, (), set()), key=lambda s: [natural(part) for part in s.name.split("/")])
    if not sources:
        raise InputError(
            f"{root}: no clips in it; expected videos ({', '.join(s[1:] for s in VIDEO_SUFFIXES)})"
            " or folders of numbered frames (jpg, png)"
        )
    top = root.absolute().name
    return [replace(s, name=s.name or top, folders=(top, *s.folders)) for s in sources]


def _search(folder: Path, below: tuple[str, ...], visited: set[Path]) -> list[Source]:
    real = folder.resolve()
    if real in visited:  # a link back up
        return []
    visited.add(real)
    entries = sorted((e for e in folder.iterdir() if not e.name.startswith(".")), key=lambda e: natural(e.name))
    videos = [e for e in entries if e.suffix.lower() in VIDEO_SUFFIXES and e.is_file()]
    folders = [e for e in entries if e.is_dir()]
    sources = [Source("/".join((*below, e.name)), e, below) for e in videos]
    inner = folder / "frames"
    if not videos:
        frames = numbered_frames(inner) if inner in folders else ()
        masks = folder / "masks"
        if frames:
            folders = [e for e in folders if e not in (inner, masks)]
        else:
            frames = numbered_frames(folder)
        if frames:
            kept = masks if masks.is_dir() else None
            sources.append(Source("/".join(below), folder, below[:-1], frames, kept))
    for entry in folders:
        sources += _search(entry, (*below, entry.name), visited)
    return sources


def numbered_frames(folder: Path) -> tuple[Path, ...]:
    """The images of a folder whose names end in a number, by that number; () where there are fewer than two.

    Raises InputError where several series are mixed, since their order would be a guess.
    """
    images = [e for e in folder.iterdir() if e.suffix.lower() in IMAGE_SUFFIXES and not e.name.startswith(".")]
    numbered = [(match, e) for e in images if (match := re.fullmatch(r"(.*?)(\d+)", e.stem)) and e.is_file()]
    if len(numbered) < 2:
        return ()
    series = {(match[1], e.suffix.lower()) for match, e in numbered}
    if len(series) > 1:
        shown = ", ".join(f"{prefix}*{suffix}" for prefix, suffix in sorted(series)[:3])
        raise InputError(f"{folder}: holds several series of frames ({shown}); put each into a folder of its own")
    return tuple(e for _, e in sorted(numbered, key=lambda pair: (int(pair[0][2]), pair[1].name)))


def natural(name: str) -> tuple:
    """Sorting key that puts x2 before x10."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(p), p) if i % 2 else (p,) for i, p in enumerate(parts))


def read_labels(path: Path) -> dict[str, str]:
    """A JSON file {clip name: class name}."""
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a JSON file of labels ({error})") from error
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise InputError(f"{path}: expected one JSON object {{clip name: class name}}")
    return labels


def class_of(source: Source, classes: Sequence[str], labels: Mapping[str, str] | None, origin: str = "labels") -> int:
    """Index of a clip's class: from ``labels`` if given, else from the nearest folder above it that is a class.

    ``labels`` may name a clip by its full name, its file name, or its file name without suffix; -1 where it
    is not there. Case, underscores and the square brackets of templates do not count. Raises InputError for a
    class that the model does not know.
    """
    index = {_plain(name): i for i, name in reversed(list(enumerate(classes)))}
    if labels is None:
        hits = (index.get(_plain(folder), -1) for folder in reversed(source.folders))
        return next((hit for hit in hits if hit >= 0), -1)
    last = source.name.rpartition("/")[2]
    given = next((labels[n] for n in (source.name, last, Path(last).stem) if n in labels), None)
    if given is None:
        return -1
    if _plain(given) not in index:
        if not classes:
            raise InputError(f"{origin}: the model has no classes, so the label {given!r} means nothing to it")
        raise InputError(f"{origin}: {source.name}: unknown class {given!r}; nearest: {nearest(given, classes)}")
    return index[_plain(given)]


def _plain(name: str) -> str:
    return re.sub(r"[\[\]]", "", name).replace("_", " ").strip().casefold()
