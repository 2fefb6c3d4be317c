"""Query masks: images that mark the object to follow in the first frame of a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtcd_jax.base.errors import InputError

from .clips import AnyClips, ClipSource
from .images.reading import read_mask
from .resize import resize_mask


def with_query(clips: AnyClips, path: str | Path | None) -> AnyClips:
    """The clips with query masks: bool [video, time, height, width], empty after frame 0.

    path: an image whose non-zero pixels mark the object (for a single clip), or a folder with an image per clip, at the
          clip's path below its own folder (cat/001.mp4 -> cat/001.png, or cat/001.mp4.png), or by its file name alone
          (001.png) where no other clip has it. None takes the clips' own, or else frame 0 of their "target" masks.
    Raises InputError for images that are missing, ambiguous, damaged or empty.
    """
    if path is None:
        if clips.query_sizes is not None or "target" not in clips.mask_names:
            return clips
        first = [clips.read([video]).masks["target"][0, 0] for video in range(len(clips))]
    else:
        files = _files(clips, Path(path))
        size = clips.read([0]).video.shape[2:4]
        first = [resize_mask(read_mask(file), *size) for file in files]
        if empty := [str(file) for file, mask in zip(files, first, strict=True) if not mask.any()]:
            raise InputError(f"{empty[0]}: marks nothing; paint the object in any colour but black")
    return clips.with_queries(np.stack(first))  # type: ignore[return-value]


def _files(clips: ClipSource, path: Path) -> list[Path]:
    if path.is_file():
        if len(clips) > 1:
            raise InputError(f"{path}: one query mask for {len(clips)} clips; give a folder with one per clip")
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder of query masks")
    files = [_file_of(name, path) for name in clips.names]
    if missing := [file for file in files if not file.is_file()]:
        raise InputError(f"{missing[0]}: is missing ({len(missing)} of {len(files)} are); every clip needs one")
    takers: dict[Path, str] = {}
    for name, file in zip(clips.names, files, strict=True):
        if file in takers:
            own = ", ".join(f"{path / clip}.png" for clip in (takers[file], name))
            raise InputError(f"{file}: fits two clips, {takers[file]} and {name}; give each its own: {own}")
        takers[file] = name
    return files


def _file_of(clip: str, folder: Path) -> Path:
    """The image of a clip: at the clip's own path (its suffix kept or not), else by its file name alone."""
    names = [Path(f"{clip}.png"), Path(clip).with_suffix(".png")]
    places = [folder / name for name in (*names, *(Path(name.name) for name in names))]
    return next((place for place in places if place.is_file()), folder / names[1])
