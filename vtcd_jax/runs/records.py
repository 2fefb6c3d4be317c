"""Records of finished stages: which files a stage wrote, from which files, each with its SHA-256.

    run/stages/<stage>.json     {"files": {file: sha256}, "reads": {file: sha256}}

A stage is finished if its record exists and every file still has its hash. If a file is damaged, removed or replaced by
one of another run, the stage runs again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vtcd_jax.base.files import file_sha256, write_json

FOLDER = "stages"


def write_record(run: Path, stage: str, files: Sequence[str], reads: Sequence[str]) -> None:
    """Records that a stage is finished.

    files, reads: names relative to the run folder; missing ones are recorded too.
    """
    path = run / FOLDER / f"{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"files": _hashes(run, files), "reads": _hashes(run, reads)})


def forget(run: Path, stage: str) -> None:
    """Makes a stage unfinished; its files stay until it is done again."""
    (run / FOLDER / f"{stage}.json").unlink(missing_ok=True)


def unfinished(run: Path, stage: str, files: Sequence[str], reads: Sequence[str]) -> str | None:
    """Why a stage has to run; None if it is finished."""
    try:
        record = json.loads((run / FOLDER / f"{stage}.json").read_text(encoding="utf-8"))
        before = {"files": dict(record["files"]), "reads": dict(record["reads"])}
    except FileNotFoundError:
        return "not done yet"
    except (ValueError, KeyError, TypeError):
        return "its record is damaged"
    now = {"files": _hashes(run, files), "reads": _hashes(run, reads)}
    for kind in ("reads", "files"):
        changed = sorted(n for n in {*before[kind], *now[kind]} if before[kind].get(n) != now[kind].get(n))
        if changed:
            return f"{changed[0]} has changed since the stage was done"
    return None


def _hashes(run: Path, names: Sequence[str]) -> dict[str, str | None]:
    return {name: file_sha256(run / name) if (run / name).is_file() else None for name in names}
