"""Shards of a ranking: each in a folder of its own inside the run, brought together by ``merge``.

    run/shards/2-of-8/config.json, scores/…      what ``vtcd rank RUN --shard 2/8`` has done

Shards need no coordinator: which blocks are whose follows from their numbers alone, a block's content does not depend
on who computed it, and what is missing at the end is computed by ``vtcd rank RUN``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtcd_jax.base.files import write_json
from vtcd_jax.models import InputError
from vtcd_jax.runs import FORMAT, SHARDS, Run, differences, file_sha256, open_run, read_config, read_events

from .scoring import Shard

FREE = ("chunk", "shard", "made_with")  # settings that shards need not share; precision they must
CONCEPTS = "concepts.safetensors"
DONE = "shard done"


@dataclass(frozen=True)
class Merged:
    """shards: their names.  blocks: copied.  known: blocks that the run had already.  damaged: left out.
    unfinished: shards that were not at their end.  missing: shards of the same splits that are not there.
    chunks: numbers of masks that ran together, where shards differ in it.
    """

    shards: tuple[str, ...]
    blocks: int
    known: int
    damaged: int
    unfinished: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    chunks: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        lines = [f"merged {self.blocks} blocks of {_count(self.shards)}; {self.known} were there already"]
        if self.damaged:
            lines.append(f"damaged blocks that were left out: {self.damaged}")
        if self.unfinished:
            lines.append(f"shards that are not finished: {', '.join(self.unfinished)}")
        if self.missing:
            lines.append(f"shards that are not there: {', '.join(self.missing)}")
        if self.chunks:
            lines.append(f"shards ran with chunks {', '.join(map(str, self.chunks))}: their scores differ by rounding")
        return [*lines, "go on with `vtcd rank`, which computes what is missing"]


def parse_shard(text: str) -> Shard:
    """ "2/8": the second of eight. Raises InputError."""
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text!r}: give I/N with I from 1 to N, such as 1/8")
    return Shard(int(found[1]) - 1, int(found[2]))


def open_shard(folder: Path, config: Mapping[str, Any], shard: Shard) -> Run:
    """The shard's own folder in the run ``folder``, locked; begun or continued.

    config: the run's, as it would be begun on this machine. Raises InputError where another process holds the shard,
    and where it was begun with other settings.
    """
    place = folder / SHARDS / f"{shard.index + 1}-of-{shard.count}"
    own = {**config, "concepts": file_sha256(folder / CONCEPTS), "shard": [shard.index + 1, shard.count]}
    known = {name: value for name, value in (read_config(folder) or {}).items() if name == "chunk"}
    return open_run(place, {**own, **known}, resume=True, ignore=("chunk",))  # the run's chunk: scores round alike


def merge(run: Run) -> Merged:
    """Copies every shard's blocks into the run. Raises InputError for a shard with other settings, with what differs,
    and for one that another process holds."""
    folders = _folders(run.folder)
    if not folders:
        raise InputError(f"{run.folder}: has no shards; make them with `vtcd rank {run.folder} --shard I/N`")
    _check_same(run, folders)
    counts, unfinished = {"blocks": 0, "known": 0, "damaged": 0}, []
    for folder in folders:
        config = read_config(folder)
        assert config is not None
        with open_run(folder, config, resume=True) as shard:
            for name in shard.blocks():
                counts[_copy(run, shard, name)] += 1
        if all(event["kind"] != DONE for event in read_events(folder)):
            unfinished.append(_told(folder.name))
    names = tuple(_told(folder.name) for folder in folders)
    found = Merged(names, **counts, unfinished=tuple(unfinished), missing=_missing(names), chunks=_chunk(run, folders))
    run.event("merged", {"shards": list(names), **counts})
    return found


def _folders(run: Path) -> list[Path]:
    """Of the shards that were begun, in order."""
    named = {p: re.fullmatch(r"([0-9]+)-of-([0-9]+)", p.name) for p in (run / SHARDS).glob("*")}
    begun = {p: (int(name[2]), int(name[1])) for p, name in named.items() if name and read_config(p) is not None}
    return sorted(begun, key=begun.__getitem__)


def _check_same(run: Run, folders: Sequence[Path]) -> None:
    own = {**(read_config(run.folder) or {}), "concepts": _sha256(run.folder / CONCEPTS)}
    for folder in folders:
        other = read_config(folder) or {}
        changed = [*differences(own, other, FREE), *differences(_precision(own), _precision(other))]
        if changed:
            raise InputError(
                f"{folder}: was made with other settings: {'; '.join(changed)}\nremove it, or make it again"
            )


def _precision(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"precision": config.get("made_with", {}).get("precision")}


def _sha256(path: Path) -> str | None:
    return file_sha256(path) if path.is_file() else None


def _copy(run: Run, shard: Run, name: str) -> str:
    """What became of a block: "blocks", "known" or "damaged"."""
    if run.read_block(name) is not None:
        return "known"
    arrays = shard.read_block(name)
    if arrays is None:
        return "damaged"
    run.write_block(name, arrays)
    return "blocks"


def _chunk(run: Run, folders: Sequence[Path]) -> tuple[int, ...]:
    """The run takes over the chunk that all shards had, so that the rest rounds alike; else the different ones."""
    config = read_config(run.folder) or {}
    chunks = {(read_config(folder) or {}).get("chunk") for folder in folders} | {config.get("chunk")}
    found = sorted(chunk for chunk in chunks if chunk is not None)
    if "chunk" not in config and len(found) == 1:
        write_json(run.folder / "config.json", {"format": FORMAT, **config, "chunk": found[0]})
    return tuple(found) if len(found) > 1 else ()


def _missing(names: Sequence[str]) -> tuple[str, ...]:
    counts = sorted({int(name.split("/")[1]) for name in names})
    return tuple(name for n in counts for i in range(1, n + 1) if (name := f"{i}/{n}") not in names)


def _told(folder: str) -> str:
    """ "2-of-8" -> "2/8", as it is given to ``--shard``."""
    return folder.replace("-of-", "/")


def _count(shards: Sequence[str]) -> str:
    return f"{len(shards)} shard{'' if len(shards) == 1 else 's'} ({', '.join(shards)})"
