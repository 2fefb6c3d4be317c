"""The job VTCD: concepts of a video network, their importance, curves and the report (Kowal et al. 2024)."""

from vtcd_jax.jobs.job import Job
from vtcd_jax.jobs.report import report_stage

from .inputs import VtcdInputs, facts, input_hashes, load_inputs, resolve, sketch_inputs
from .plan import measure, outline
from .presets import PRESETS
from .settings import RunSettings, demo_settings
from .stages import CURVES, DISCOVER, RANK

STAGES = (DISCOVER, RANK, CURVES)
JOB: Job[RunSettings, VtcdInputs] = Job(
    name="vtcd",
    settings=RunSettings,
    entry_commands={
        "run": ("The whole job: concepts, importance, curves, report.", "report"),
        "discover": (
            "Only the concepts; continue with `vtcd rank`, `vtcd curves` and `vtcd report` on the run folder.",
            "discover",
        ),
    },
    prepare=load_inputs,
    sketch=sketch_inputs,
    inputs=input_hashes,
    stages=(*STAGES, report_stage(STAGES)),
    measure=measure,
    outline=outline,
    facts=facts,
    resolve=resolve,
    resolved=("chunk", "slope_chunk"),
    folders=("held_out",),
    presets=PRESETS,
    version=2,
)

__all__ = ["JOB", "RunSettings", "VtcdInputs", "demo_settings", "load_inputs"]
