"""Discovery of jobs: every module or subpackage of this package with a ``JOB``."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

import vtcd_jax.jobs
from vtcd_jax.base.errors import InputError

from .job import Job


def find_jobs() -> dict[str, Job]:
    """name -> job, in the order of the modules' names. Raises ValueError for equal names."""
    jobs: dict[str, Job] = {}
    for module in pkgutil.iter_modules(vtcd_jax.jobs.__path__):
        job = getattr(import_module(f"{vtcd_jax.jobs.__name__}.{module.name}"), "JOB", None)
        if job is None:
            continue
        if job.name in jobs or any(set(job.entry_commands) & set(other.entry_commands) for other in jobs.values()):
            raise ValueError(
                f"two jobs share the name {job.name!r} or one of the commands {', '.join(job.entry_commands)}"
            )
        jobs[job.name] = job
    return jobs


def find_job(name: str, folder: Path) -> Job:
    """The job of a run folder. Raises InputError for an unknown job."""
    jobs = find_jobs()
    if name not in jobs:
        raise InputError(f"{folder}: is a run of job {name!r}, which this version does not know ({', '.join(jobs)})")
    return jobs[name]
