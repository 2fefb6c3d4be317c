"""Files of labels: which clip has which class, in the forms that data sets come in.

{"x.mp4": "Rolling something", …}                      JSON, clip -> class name or index
[{"id": "78687", "template": "Rolling [something]"}]   JSON, Something-Something v2
{"x": {"annotations": {"label": "archery"}}}           JSON, Kinetics
label,youtube_id,time_start,time_end,split             CSV with a header, Kinetics and others
78687;Rolling something                                CSV without a header, SSv2's answers, VideoMAE's lists
some/path/x.mp4 3                                      text, mmaction: class index (and, for folders of frames,
                                                       their number before it)
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError

from .kinds import is_media

_CLIP_COLUMNS = (
    "youtube_id", "video_id", "video", "clip", "id", "name", "filename", "file_name", "file", "path", "video_path",
    "filepath", "vid", "video_name",
)  # fmt: skip
_LABEL_COLUMNS = ("template", "label", "class", "class_name", "label_name", "action", "category", "labels", "target")


def read_labels(path: str | os.PathLike) -> dict[str, str]:
    """A list of labels in any of the forms above as {clip name: class name or index}.

    Raises InputError where it is none of them, or names one clip with two classes.
    """
    path = Path(path)
    text = _text(path)
    is_json = path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "[")
    pairs = _from_json(path, text) if is_json else _from_lines(path, text)
    labels: dict[str, str] = {}
    for clip, label in pairs:
        if labels.setdefault(clip, label) != label:
            raise InputError(f"{path}: gives clip {clip!r} two classes, {labels[clip]!r} and {label!r}; keep one")
    return labels


def _text(path: Path) -> str:
    """The file as text; bytes that are no UTF-8 stay as they are in file names."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a list of labels ({error.strerror})") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "surrogateescape")


# ---- JSON --------------------------------------------------------------------------------------------------------


def _from_json(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file of labels ({error})") from error
    if isinstance(value, dict) and isinstance(value.get("database"), dict):
        value = value["database"]
    if isinstance(value, list):
        entries = [_from_entry(entry) for entry in value]
    elif isinstance(value, dict):
        entries = [(clip, *_from_value(entry)) for clip, entry in value.items()]
    else:
        entries = [("", None, ())]
    known = [(clip, label, piece) for clip, label, piece in entries if label is not None]
    if len(known) < len(entries):
        raise InputError(
            f"{path}: expected one JSON object {{clip name: class name}},"
            ' or a list of {"id": clip, "template" or "label": class}'
        )
    return _cut_out(known)


def _from_entry(entry: Any) -> tuple[str, str | None, Sequence[Any]]:
    if not isinstance(entry, dict):
        return "", None, ()
    lowered = {str(key).lower(): value for key, value in entry.items()}
    clip = next((name for c in _CLIP_COLUMNS if (name := _scalar(lowered.get(c)))), None)
    label = next((_scalar(lowered[c]) for c in _LABEL_COLUMNS if c in lowered), None)
    return ("", None, ()) if clip is None else (clip, label, ())


def _from_value(entry: Any) -> tuple[str | None, Sequence[Any]]:
    """A class as it stands, or inside a Kinetics entry with the piece of the video that it is about."""
    if not isinstance(entry, dict):
        return _scalar(entry), ()
    inner = entry.get("annotations", entry)
    inner = inner[0] if isinstance(inner, list) and len(inner) == 1 else inner
    if not isinstance(inner, dict):
        return None, ()
    piece = inner.get("segment", ())
    return next((_scalar(inner[c]) for c in _LABEL_COLUMNS if c in inner), None), piece if isinstance(
        piece, list
    ) else ()


def _scalar(value: Any) -> str | None:
    is_index = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if isinstance(value, str) or is_index else None


# ---- CSV and text ------------------------------------------------------------------------------------------------


def _from_lines(path: Path, text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError(f"{path}: an empty list of labels")
    delimiter = max(",;\t", key=lines[0].count)
    header = [cell.strip().lower() for cell in next(csv.reader([lines[0]], delimiter=delimiter))]
    label = next((c for c in _LABEL_COLUMNS if c in header), None)
    clip = next((c for c in _CLIP_COLUMNS if c in header), None)
    if len(header) > 1 and clip and not label:
        raise InputError(f"{path}: has no column for the class ({', '.join(header)}); name it 'label'")
    if len(header) > 1 and clip and label:
        return _from_table(path, csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), clip, label)
    return [_from_line(path, number, line, delimiter) for number, line in enumerate(lines, 1)]


def _from_table(path: Path, rows: csv.DictReader, clip: str, label: str) -> list[tuple[str, str]]:
    pairs = []
    for row in rows:
        cells = {(key or "").strip().lower(): value.strip() for key, value in row.items() if isinstance(value, str)}
        name, value = cells.get(clip, ""), cells.get(label, "")
        if not name or not value:
            raise InputError(f"{path}: line {rows.line_num} lacks the clip or its class; mend or remove it")
        pairs.append((name, value, (cells.get("time_start", ""), cells.get("time_end", ""))))
    return _cut_out(pairs)


def _cut_out(entries: Sequence[tuple[str, str, Sequence[Any]]]) -> list[tuple[str, str]]:
    """(clip, class) where an entry may be a piece of a video, from second to second.

    Such pieces are usually called ``video_000010_000020``; by the name of the video they are known where all of
    its pieces have one class.
    """
    classes: dict[str, set[str]] = {}
    for name, label, _ in entries:
        classes.setdefault(name, set()).add(label)
    pairs = []
    for name, label, piece in entries:
        seconds = [_seconds(time) for time in piece]
        if len(seconds) == 2 and None not in seconds:
            pairs.append((f"{name}_{seconds[0]:06d}_{seconds[1]:06d}", label))
            if len(classes[name]) > 1:
                continue
        pairs.append((name, label))
    return pairs


def _seconds(time: Any) -> int | None:
    try:
        return int(float(time))
    except (TypeError, ValueError, OverflowError):
        return None


def _from_line(path: Path, number: int, line: str, delimiter: str) -> tuple[str, str]:
    """``clip,class``, ``clip class`` or ``folder frames class``; clips may hold spaces, and classes where the clip has
    a suffix."""
    cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    if len(cells) == 2 and all(cells):
        return cells[0], cells[1]
    if hit := re.fullmatch(r"(.+?\.(\w+))\s+(.+)", line.strip()):
        if is_media(hit[1]) and not re.fullmatch(r"\d+(\s+\d+)+", hit[3]):
            return hit[1], hit[3]
        if is_media(hit[1]):
            raise InputError(f"{path}: line {number} gives {hit[1]!r} several classes; keep one")
    if hit := re.fullmatch(r"(.+?)(?:\s+\d+)?\s+(\d+)", line.strip()):
        return hit[1], hit[2]
    raise InputError(
        f"{path}: line {number} is no clip with a class; expected JSON {{clip name: class name}}, a CSV file with"
        " columns for clip and label, or lines 'clip class'"
    )
