"""Running a job: begin, resume, shard, plan. All jobs behave in the same way.

    begin(job, settings, out)      vtcd run CLIPS --model M --out RUN
    resume(RUN, last="rank")       vtcd rank RUN
    do_shard(RUN, "rank", shard)   vtcd rank RUN --shard 2/8
    plan(job, settings)            --dry-run

A stage that is finished (``runs.records``) is read from its files. Inputs are loaded when a stage first needs them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vtcd_jax.base.errors import InputError
from vtcd_jax.data.notices import recorded
from vtcd_jax.runs import Progress, Run, Shard, Work, check_run, open_run, read_config
from vtcd_jax.runs.config import other_format
from vtcd_jax.runs.records import unfinished, write_record
from vtcd_jax.runs.settings import from_plain, to_plain
from vtcd_jax.runs.shards import DONE, open_shard
from vtcd_jax.runs.work import silent

from .changes import apply_changes, changed_settings
from .find import find_job
from .job import Context, Job, Stage
from .plan import Plan

PrintLine = Callable[[str], None]
"""Prints a line about results when a stage finishes."""


def begin(
    job: Job,
    settings: Any,
    out: str | Path,
    *,
    last: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    change: bool = False,
    progress: Progress = silent,
    print_line: PrintLine = lambda line: None,
) -> dict[str, Any]:
    """Runs the stages of a job up to ``last`` (None: all) in a run folder; stage -> result.

    resume, overwrite: for an existing run (see ``open_run``).
    change: a resumed run may have been begun with other settings; what depends on them is done again (``changes``).

    Raises InputError, before anything is written, for wrong settings, inputs or folders.
    """
    out = Path(out)
    check_run(out, resume=resume, overwrite=overwrite)
    with recorded() as warnings:
        inputs = job.prepare(settings, progress)
    config = config_of(job, settings, inputs)
    changes = changed_settings(job, out, config) if resume and change else []
    ignore = (*job.resolved, "settings") if changes else job.resolved
    options = {"resume": resume, "overwrite": overwrite, "ignore": ignore, "folders": job.folders}
    with open_run(out, config, **options) as run:
        if changes:
            again = apply_changes(job, run, config)
            run.event("settings changed", {"settings": changes, "again": again})
            print_line(f"changed: {'; '.join(changes)}")
            print_line(f"done again: {', '.join(again)}")
        for warning in warnings:
            run.event("warning", {"text": str(warning)})
        for line in job.facts(inputs):
            print_line(line)
        return _stages(job, settings_of(job, config), run, lambda: inputs, last, progress, print_line)


def resume(
    folder: str | Path,
    *,
    last: str | None = None,
    progress: Progress = silent,
    print_line: PrintLine = lambda line: None,
) -> dict[str, Any]:
    """Continues a run with its settings, up to ``last``; stage -> result.

    Inputs are loaded only if a stage has work left. Raises InputError for a folder that is not a run, for an unknown
    stage, and for inputs that have changed since the run was begun.
    """
    folder = Path(folder)
    job, config = job_of(folder)
    check_stage(job, folder, last)
    settings = settings_of(job, config)
    with open_run(folder, config, resume=True, ignore=job.resolved, folders=job.folders) as run:
        inputs = functools.cache(lambda: _checked_inputs(job, settings, folder, progress))
        return _stages(job, settings, run, inputs, last, progress, print_line)


def do_shard(folder: str | Path, name: str, shard: Shard, *, progress: Progress = silent) -> None:
    """Computes one shard of a stage's blocks, in its own folder inside the run. Other processes may run other shards.

    Raises InputError for a stage that cannot be divided, and if an earlier stage is not finished.
    """
    folder = Path(folder)
    job, config = job_of(folder)
    check_stage(job, folder, name)
    stage, settings = job.stage(name), settings_of(job, config)
    if stage.shard is None:
        raise InputError(f"{folder}: the stage {name!r} cannot be divided into shards; leave --shard out")
    if reason := stage.unshared(settings):
        raise InputError(f"{folder}: {reason}; leave --shard out")
    check_run(folder, resume=True)
    for earlier in stage.reads:
        if _open_work(job, folder, job.stage(earlier)) is not None:
            raise InputError(f"{folder}: stage {earlier!r} is not finished; resume it before its shards are made")
    inputs = _checked_inputs(job, settings, folder, progress, ("made_with",))
    shard_config = {
        **config_of(job, settings, inputs),
        **{name: config[name] for name in job.resolved if name in config},
    }
    files = [file for earlier in stage.reads for file in job.stage(earlier).files]
    with open_shard(folder, shard_config, name, shard, files, job.resolved) as run:
        work = Work(store=run, progress=progress, shard=shard)
        stage.shard(Context(settings, run, work, lambda: inputs, _results(job, folder)))
        run.event(DONE)


def plan(job: Job, settings: Any, *, last: str | None = None, progress: Progress = silent) -> Plan:
    """What a run will take, from above; measures a piece of every stage and writes nothing."""
    inputs = (job.sketch or job.prepare)(settings, progress)
    stages, measured = job.stages[: _count(job, last)], job.measure(settings, inputs)
    costs = tuple(cost for stage in stages for cost in stage.cost(settings, inputs, measured))
    return Plan((*job.facts(inputs), *job.outline(settings, inputs)), costs)


def config_of(job: Job, settings: Any, inputs: Any) -> dict[str, Any]:
    """What ``config.json`` holds: the job, its settings with their defaults filled in, and hashes of the inputs."""
    plain = to_plain(job.resolve(settings, inputs))
    return {"job": job.name, "version": job.version, "settings": plain, **job.inputs(settings, inputs)}


def settings_of(job: Job, config: Mapping[str, Any]) -> Any:
    """The settings that a run was begun with."""
    return from_plain(job.settings, config["settings"])


def job_of(folder: Path) -> tuple[Job, dict[str, Any]]:
    """The job of a run folder, and its config. Raises InputError for a folder that this version cannot read."""
    config = read_config(folder)
    if name := other_format(folder):
        raise InputError(f"{folder}: is a run of format {name}, which this version does not read; begin a new run")
    if config is None or not isinstance(config.get("settings"), dict):
        raise InputError(f"{folder}: is not a run folder; begin one with `vtcd run CLIPS --model M --out {folder}`")
    job = find_job(str(config.get("job")), folder)
    if config.get("version") != job.version:
        raise InputError(
            f"{folder}: was made by another version of this library (format {config.get('version')}, this one reads "
            f"{job.version}); begin the run again"
        )
    return job, config


def check_stage(job: Job, folder: Path, name: str | None) -> None:
    """Raises InputError for a stage that the job does not have."""
    names = [stage.name for stage in job.stages]
    if name is not None and name not in names:
        raise InputError(
            f"{folder}: is a run of job {job.name!r}, which has no stage {name!r}; its stages: {', '.join(names)}"
        )


def _checked_inputs(
    job: Job,
    settings: Any,
    folder: Path,
    progress: Progress,
    ignore: tuple[str, ...] = (),
) -> Any:
    """The job's inputs. Raises InputError if they differ from those of the run, except for ``ignore``."""
    inputs = job.prepare(settings, progress)
    check_run(
        folder, config_of(job, settings, inputs), resume=True, ignore=(*job.resolved, *ignore), locked=True
    )  # fmt: skip
    return inputs


def _stages(
    job: Job,
    settings: Any,
    run: Run,
    inputs: Callable[[], Any],
    last: str | None,
    progress: Progress,
    print_line: PrintLine,
) -> dict[str, Any]:
    result = _results(job, run.folder)
    context = Context(settings, run, Work(store=run, progress=progress), inputs, result)
    stages = job.stages[: _count(job, last)]
    if any(stage.needs_inputs and _open_work(job, run.folder, stage) for stage in stages):
        inputs()  # what is wrong with them is said before anything else
    for stage in stages:
        reason = _open_work(job, run.folder, stage)
        if reason is not None:
            run.event("stage", {"stage": stage.name, "reason": reason})
            stage.run(context)
            write_record(run.folder, stage.name, stage.files, _read_files(job, stage))
            for group in stage.blocks:
                run.remove_blocks(group)
        for line in stage.lines(result(stage.name), run.folder):
            print_line(line)
    return {stage.name: result(stage.name) for stage in stages}


def _results(job: Job, folder: Path) -> Callable[[str], Any]:
    """Stage -> its result, read once from the run folder."""
    return functools.cache(lambda name: job.stage(name).load(folder))


def _open_work(job: Job, folder: Path, stage: Stage) -> str | None:
    return unfinished(folder, stage.name, stage.files, _read_files(job, stage))


def _read_files(job: Job, stage: Stage) -> list[str]:
    return [file for name in stage.reads for file in job.stage(name).files]


def _count(job: Job, last: str | None) -> int:
    names = [stage.name for stage in job.stages]
    return len(names) if last is None else names.index(last) + 1
