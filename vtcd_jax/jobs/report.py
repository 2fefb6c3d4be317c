"""The report stage, the same for every job, because sections read only the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtcd_jax.runs import Step

from .job import Context, Stage

PAGE = "report/index.html"
STEP = Step("report", "report", "page")


def report_stage(stages: Sequence[Stage]) -> Stage:
    """The last stage of a job, after these stages."""
    return Stage(
        name="report",
        help="The HTML report of a run (and what it needs).",
        files=(PAGE,),
        run=_write,
        load=lambda folder: folder / PAGE,
        reads=tuple(stage.name for stage in stages),
        needs_inputs=False,
        lines=lambda path, folder: [f"report: {Path(path).resolve()}"],
    )


def _write(context: Context) -> None:
    from vtcd_jax.report import write_report

    context.work.progress(STEP, 0, 1)
    write_report(context.run.folder)
    context.work.progress(STEP, 1, 1)
