"""``events.jsonl``: the log of a run, one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtcd_jax.base.files import json_bytes

EVENTS = "events.jsonl"


def append_event(folder: Path, kind: str, fields: Mapping[str, Any] | None = None) -> None:
    """Appends a line: time (seconds since 1970), kind, and the JSON-able fields."""
    entry = {"time": round(time.time(), 3), "kind": kind, **(fields or {})}
    _append_line(folder / EVENTS, json_bytes(json.dumps(entry, ensure_ascii=False)))


def read_events(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The events of a run; a line that a crash left incomplete is skipped."""
    events = []
    with contextlib.suppress(FileNotFoundError):
        for line in (Path(folder) / EVENTS).read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                events.append(json.loads(line))
    return events


def _append_line(path: Path, line: bytes) -> None:
    """One write, so that lines stay whole; an incomplete last line (after a crash) is closed first."""
    with path.open("ab+") as file:
        broken = False
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            broken = file.read(1) != b"\n"
        file.write((b"\n" if broken else b"") + line + b"\n")
