"""Shards of a stage: each in its own folder inside the run, combined by ``merge``.

    run/shards/rank-2-of-8/config.json, scores/…      results of ``vtcd rank RUN --shard 2/8``

Shards need no coordinator: the number of a block determines its shard, a block's content does not depend on the process
that computed it, and missing blocks are computed when the whole stage runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.base.files import file_sha256

from .config import differences, read_config, write_config
from .events import read_events
from .folder import SHARDS, Run, open_run
from .work import Shard

FREE = ("made_with", "shard")  # may differ between shards and run; the precision may not
DONE = "shard done"


@dataclass(frozen=True)
class Merged:
    """What ``merge`` did.

    shards:     their names.
    blocks:     number of copied blocks.
    known:      number of blocks that the run had already.
    damaged:    number of damaged blocks, which were left out.
    unfinished: shards that have not finished.
    missing:    shards of the same splits that do not exist.
    chosen:     settings chosen by measuring in which shards differ, such as "chunk 1, 8".
    """

    shards: tuple[str, ...]
    blocks: int
    known: int
    damaged: int
    unfinished: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The result as lines of text."""
        count = f"{len(self.shards)} shard{'' if len(self.shards) == 1 else 's'} ({', '.join(self.shards)})"
        lines = [f"merged {self.blocks} blocks of {count}; {self.known} existed already"]
        if self.damaged:
            lines.append(f"damaged blocks left out: {self.damaged}")
        if self.unfinished:
            lines.append(f"unfinished shards: {', '.join(self.unfinished)}")
        if self.missing:
            lines.append(f"missing shards: {', '.join(self.missing)}")
        lines += [f"shards ran with {setting}: their results differ by rounding" for setting in self.chosen]
        stages = sorted({shard.split(" ")[0] for shard in self.shards})
        return [*lines, *(f"resume with `vtcd {stage} RUN`, which computes what is missing" for stage in stages)]


def parse_shard(text: str) -> Shard:
    """ "2/8": the second of eight. Raises InputError."""
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--shard {text!r}: give I/N with I from 1 to N, such as 1/8")
    return Shard(int(match[1]) - 1, int(match[2]))


def open_shard(
    folder: Path, config: Mapping[str, Any], stage: str, shard: Shard, files: Sequence[str], resolved: Sequence[str]
) -> Run:
    """The shard's folder in the run ``folder``, locked; begun or continued.

    config: the run's.  files: results of the run that the stage reads; the shard keeps their hashes.
    resolved: settings chosen by measuring; a shard uses those of the run, so that results are rounded in the same way.
    Raises InputError where another process holds the shard, and where it was begun with other settings.
    """
    shard_folder = folder / SHARDS / f"{stage}-{shard.index + 1}-of-{shard.count}"
    about = {"reads": _hashes(folder, files), "shard": [shard.index + 1, shard.count]}
    return open_run(shard_folder, {**config, **about}, resume=True, ignore=resolved)


def merge(run: Run, resolved: Sequence[str]) -> Merged:
    """Copies every shard's blocks into the run. Raises InputError for a shard with other settings, with what differs,
    and for one that another process holds.

    resolved: settings chosen by measuring, in which shards may differ.
    """
    folders = _folders(run.folder)
    if not folders:
        raise InputError(f"{run.folder}: has no shards; make them with `vtcd rank {run.folder} --shard I/N`")
    _check_same(run, folders, resolved)
    counts, unfinished = {"blocks": 0, "known": 0, "damaged": 0}, []
    for folder in folders:
        config = read_config(folder)
        assert config is not None
        with open_run(folder, config, resume=True) as shard:
            for name in shard.blocks():
                counts[_copy(run, shard, name)] += 1
        if all(event["kind"] != DONE for event in read_events(folder)):
            unfinished.append(_shown(folder))
    names = tuple(_shown(folder) for folder in folders)
    chosen = tuple(line for name in resolved if (line := _chosen(run, folders, name)))
    merged = Merged(names, **counts, unfinished=tuple(unfinished), missing=_missing(names), chosen=chosen)
    run.event("merged", {"shards": list(names), **counts})
    return merged


def _parts(folder: Path) -> tuple[str, int, int] | None:
    match = re.fullmatch(r"(.+)-([0-9]+)-of-([0-9]+)", folder.name)
    return (match[1], int(match[3]), int(match[2])) if match else None


def _folders(run: Path) -> list[Path]:
    """Folders of the shards that were begun, in order."""
    begun = [p for p in (run / SHARDS).glob("*") if _parts(p) and read_config(p) is not None]
    return sorted(begun, key=lambda p: _parts(p) or ("", 0, 0))


def _check_same(run: Run, folders: Sequence[Path], resolved: Sequence[str]) -> None:
    ours = read_config(run.folder) or {}
    for folder in folders:
        theirs = dict(read_config(folder) or {})
        reads = theirs.pop("reads", {})
        changed = [
            *differences(ours, theirs, (*FREE, *resolved)),
            *differences(_precision(ours), _precision(theirs)),
            *differences(_hashes(run.folder, list(reads)), reads),
        ]
        if changed:
            raise InputError(
                f"{folder}: was made with other settings: {'; '.join(changed)}\nremove it, or make it again"
            )


def _precision(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"precision": config.get("made_with", {}).get("precision")}


def _hashes(folder: Path, files: Sequence[str]) -> dict[str, str | None]:
    return {name: file_sha256(folder / name) if (folder / name).is_file() else None for name in files}


def _copy(run: Run, shard: Run, name: str) -> str:
    """Copies a block. Returns how it is counted: "blocks", "known" or "damaged"."""
    if run.read_block(name) is not None:
        return "known"
    arrays = shard.read_block(name)
    if arrays is None:
        return "damaged"
    run.write_block(name, arrays)
    return "blocks"


def _chosen(run: Run, folders: Sequence[Path], name: str) -> str | None:
    """Gives the run the value that all shards chose, so that the rest is rounded alike; else returns the values."""
    config = read_config(run.folder) or {}
    read = [config, *(read_config(folder) or {} for folder in folders)]
    values = {each[name] for each in read if each.get(name) is not None}
    if name not in config and len(values) == 1:
        write_config(run.folder, {**config, name: values.pop()})
        return None
    return f"{name} {', '.join(map(str, sorted(values)))}" if len(values) > 1 else None


def _missing(names: Sequence[str]) -> tuple[str, ...]:
    splits = sorted({(name.split(" ")[0], int(name.split("/")[1])) for name in names})
    wanted = [f"{stage} {i}/{count}" for stage, count in splits for i in range(1, count + 1)]
    return tuple(name for name in wanted if name not in names)


def _shown(folder: Path) -> str:
    """ "rank-2-of-8" -> "rank 2/8"."""
    stage, count, index = _parts(folder) or ("", 0, 0)
    return f"{stage} {index}/{count}"
