"""Going on with a run under other settings: a quick preset first, then a thorough one.

Each stage says which settings it depends on (``Stage.settings``). Where one of them changes, this stage and all after
it are done again; stages before it keep their results. Other settings, clips and models cannot change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.runs import Run, read_config
from vtcd_jax.runs.config import as_json, differences, write_config
from vtcd_jax.runs.records import forget

from .job import Job

PREFIX = "settings."


def changed_settings(job: Job, folder: Path, config: Mapping[str, Any]) -> list[str]:
    """What differs between a run and a new config, as "masks: 24 -> 512"; empty for a new run.

    Raises InputError for a difference that the run's results cannot follow.
    """
    old = read_config(folder)
    if old is None:
        return []
    found = differences(old, as_json(config), job.resolved)
    fixed = [line for line in found if _stage_of(job, line) is None]
    if fixed:
        raise InputError(
            f"{folder}: was begun with other settings, clips or models: {'; '.join(fixed)}\n"
            "these cannot change in a run; give --overwrite, or another folder"
        )
    return [line.removeprefix(PREFIX) for line in found]


def apply_changes(job: Job, run: Run, config: Mapping[str, Any]) -> list[str]:
    """Writes the new settings into an open run, and forgets the stages that depend on what has changed; their names."""
    old = read_config(run.folder) or {}
    stages = [_stage_of(job, line) for line in differences(old, as_json(config), job.resolved)]
    first = min((job.stages.index(stage) for stage in stages if stage is not None), default=len(job.stages))
    again = job.stages[first:]
    for stage in again:
        forget(run.folder, stage.name)
        for group in stage.blocks:
            run.remove_blocks(group)
    write_config(run.folder, as_json(config))
    return [stage.name for stage in again]


def _stage_of(job: Job, line: str) -> Any:
    """The first stage that depends on the setting of a line of ``differences``; None where there is none."""
    name = line.split(": ")[0].removeprefix(PREFIX) if line.startswith(PREFIX) else None
    depends = (stage for stage in job.stages if any(name == s or str(name).startswith(f"{s}.") for s in stage.settings))
    return None if name is None else next(depends, None)
