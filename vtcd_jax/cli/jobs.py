"""Commands made from jobs: entry commands begin a run, stage commands continue one.

vtcd run CLIPS --model M --out RUN      an entry command
vtcd rank RUN                           a stage command, for a run of any job
"""

# No `from __future__ import annotations`: tyro reads the annotations of the functions defined in this module.
import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from vtcd_jax.base.errors import InputError
from vtcd_jax.jobs.execute import begin, check_stage, do_shard, job_of, plan, resume, settings_of
from vtcd_jax.jobs.job import Job
from vtcd_jax.runs.settings import checked_fields, read_toml
from vtcd_jax.runs.shards import parse_shard

from .cache import keep_compilations
from .options import COMMON, FOLDER, Common, Flat, Folder, RunFolder
from .progress import Progress


def entry_command(job: Job, name: str, defaults: Any = None) -> Callable[..., None]:
    """The command that begins a run of a job. defaults: settings from a file, which options of the command override."""
    text, last = job.entry_commands[name]

    def command(
        settings: Annotated[Any, Flat],
        *,
        out: Path,
        preset: str | None = None,
        config: Path | None = None,
        folder: Annotated[Folder, Flat] = FOLDER,
        common: Annotated[Common, Flat] = COMMON,
    ) -> None:
        run_job(job, settings, out, folder, common, last=last, change=preset is not None)

    annotation = Annotated[job.settings, Flat]
    signature = inspect.signature(command)
    given = signature.parameters["settings"].replace(annotation=annotation)
    given = given if defaults is None else given.replace(default=defaults)
    command.__annotations__["settings"] = annotation
    command.__signature__ = signature.replace(parameters=[given, *list(signature.parameters.values())[1:]])  # type: ignore[attr-defined]
    command.__name__ = name
    command.__doc__ = f"""{text}

    Args:
        settings: Settings that determine the results.
        out: Run folder.
        preset: A named set of settings{_known(job)}; a TOML file and options on the command line override it. With
            --resume it goes on with a run that was begun with another preset.
        config: TOML file with settings; options on the command line override it.
        folder: Use of an existing run folder.
        common: Options of every command.
    """
    return command


def stage_command(name: str, text: str) -> Callable[..., None]:
    """The command that continues a run, of any job, up to a stage."""

    def command(
        run_folder: RunFolder,
        *,
        shard: Annotated[str | None, tyro.conf.arg(metavar="I/N")] = None,
        dry_run: bool = False,
        common: Annotated[Common, Flat] = COMMON,
    ) -> None:
        if shard is not None and dry_run:
            raise InputError(
                "--shard and --dry-run exclude each other: a dry run bounds the whole run; give one of them"
            )
        keep_compilations()
        with Progress(common.quiet) as progress, naming(run_folder):
            if shard is not None:
                do_shard(run_folder, name, parse_shard(shard), progress=progress)
                print(f"shard {shard} is done; after the last shard run: vtcd merge {run_folder}")
            elif dry_run:
                job, config = job_of(run_folder)
                check_stage(job, run_folder, name)
                _print_plan(job, settings_of(job, config), name, progress)
            else:
                resume(run_folder, last=name, progress=progress, print_line=print)

    command.__name__ = name
    command.__doc__ = f"""{text}

    Args:
        run_folder: A run folder.
        shard: Compute only part I of N of the stage; other processes compute the others; then run `vtcd merge`.
        dry_run: Print bounds of passes, memory and time of the run up to this stage; write nothing.
        common: Options of every command.
    """
    return command


def run_job(
    job: Job, settings: Any, out: Path, folder: Folder, common: Common, *, last: str | None, change: bool = False
) -> None:
    """Begins a run, or plans it. change: whether a resumed run may have been begun with other settings."""
    keep_compilations()
    with Progress(common.quiet) as progress, naming(out):
        if folder.dry_run:
            _print_plan(job, settings, last, progress)
            return
        options = {"resume": folder.resume, "overwrite": folder.overwrite, "change": change}
        begin(job, settings, out, last=last, progress=progress, print_line=print, **options)


def job_commands(jobs: dict[str, Job]) -> dict[str, Callable[..., None]]:
    """name -> command, for the entry commands and the stages of all jobs."""
    commands = {name: entry_command(job, name) for job in jobs.values() for name in job.entry_commands}
    for job in jobs.values():
        for stage in job.stages:
            commands.setdefault(stage.name, stage_command(stage.name, stage.help))
    return commands


def _known(job: Job) -> str:
    return f" ({', '.join(job.presets)})" if job.presets else ""


def settings_defaults(job: Job, preset: str | None, path: str | None) -> Any:
    """Settings from a preset, and from a TOML file that overrides it; required settings that are in neither stay
    required on the command line."""
    if preset is not None and preset not in job.presets:
        known = f"known: {', '.join(job.presets)}" if job.presets else "this job has none; leave it out"
        raise InputError(f"--preset {preset}: no such preset; {known}")
    kind, given = job.settings, {} if path is None else read_toml(path)
    try:
        checked_fields(kind, given)
        fields = checked_fields(kind, _merged({} if preset is None else job.presets[preset], given))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    required = {f.name for f in dataclasses.fields(kind) if _is_required(f)}
    settings = object.__new__(kind)
    for field in dataclasses.fields(kind):
        if field.name in fields:
            value = fields[field.name]
        elif field.name in required:
            value = tyro.MISSING
        else:
            value = field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
        object.__setattr__(settings, field.name, value)
    return settings


def _merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Values, and those of ``over`` in their place; groups of settings are merged field by field."""
    merged = dict(values)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _print_plan(job: Job, settings: Any, last: str | None, progress: Progress) -> None:
    print("\n".join(plan(job, settings, last=last, progress=progress).lines()))


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives errors of the disk a file name: their own, else ``path``."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
