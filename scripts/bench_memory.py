"""Measurement of ``bench.py memory``: the peak memory of this process in every stage of a small job.

A network with random weights and clips of noise: tubelets, numbers of concepts, dictionaries, fits for stability,
masked passes. On Linux the kernel's mark of the peak is set back before each stage; elsewhere every stage shows the
highest peak so far.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from bench_problem import problem

from vtcd_jax.concepts import ElbowRule, NmfConfig, SlicConfig, discover
from vtcd_jax.data import Clips
from vtcd_jax.importance import cris
from vtcd_jax.models.families.videomae import VideoMAEConfig
from vtcd_jax.runs import Step, Work

STAGES = {
    "segment": "tubelets", "count": "numbers", "factorise": "dictionaries", "stability": "stability",
    "tokens": "tokens",
}  # fmt: skip


def measure(config: VideoMAEConfig, concepts: int, clips: int, masks: int) -> dict[str, Any]:
    """Peaks in bytes and seconds of each stage. concepts: per head."""
    task = problem(config, concepts, 2)
    shape = (clips, *task.clips.video.shape[1:])
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    noise = Clips.make(noise, [f"noise {i}" for i in range(clips)], labels=[0] * clips)
    peaks, times = {"network and clips": peak()}, {}
    last = [time.perf_counter()]

    def ended(stage: str) -> None:
        now = time.perf_counter()
        peaks[stage], times[stage], last[0] = peak(), now - last[0], now
        set_back()

    def progress(step: Step, done: int, total: int, detail: str = "") -> None:
        if done == total:
            ended(STAGES[step.name])

    set_back()
    settings = NmfConfig(elbow=ElbowRule(rule="fixed", number=concepts), restarts=1, max_steps=200, refits=1)
    slic = SlicConfig(proposals="slic")  # tubelets need the most memory
    found = discover(task.model, noise, slic=slic, nmf=settings, work=Work(progress=progress))
    ended("tables")
    cris(task.model, noise, found, masks=masks, key=jax.random.key(1))
    ended("ranking")
    return {"clips": clips, "masks": masks, "concepts": len(found), "peaks": peaks, "seconds": times}


def peak() -> int:
    """Bytes of the largest resident set since it was set back."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def set_back() -> None:
    """Forgets the peak, where the system lets us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def print_memory(r: dict[str, Any]) -> None:
    print(f"{r['network']}, {r['clips']} clips of noise, {r['concepts']} concepts, {r['masks']} masks a clip")
    for stage, size in r["peaks"].items():
        spent = f", {r['seconds'][stage]:.1f} s" if stage in r["seconds"] else ""
        print(f"  {stage:20} peak {size / 2**30:6.2f} GiB{spent}")
