"""Measurement of ``bench.py slic``: SLIC volumes per second, and those of scikit-image on the same cores.

Features of one head on the token grid are segmented at the size that VTCD uses: token size, half the frames of
VideoMAE, half the frames of TCOW. Ours runs as in discovery (threads, each a batch of heads, interpolation included).
scikit-image runs in as many processes as there are cores, on volumes that are interpolated beforehand, which is not
counted. Both end with the connectivity step. The two take turns; each turn gives a ratio. ``job`` is VideoMAE-B: 30
clips x 144 heads.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from statistics import median
from typing import Any

import jax
import numpy as np
from bench_tools import seconds
from scipy.ndimage import gaussian_filter

from vtcd_jax.concepts import slic
from vtcd_jax.concepts.tubelets.resampling import upsample

JOB = 30 * 144  # clips x heads of VideoMAE-B
CASES = {  # token grid, size that is segmented, compactness
    "(8, 14, 14, 64)": ((8, 14, 14), (8, 14, 14), 0.1),
    "(16, 112, 112, 64)": ((8, 14, 14), (16, 112, 112), 0.1),
    "(30, 120, 160, 64)": ((30, 15, 20), (30, 120, 160), 0.01),
}
JOB_CASE = "(16, 112, 112, 64)"


@dataclass(frozen=True)
class Slic:
    """SLIC volumes per second, those of scikit-image, and VideoMAE-B's whole job."""

    heads: int = 12
    """Volumes that a thread segments in one call, as the heads of a layer are."""
    pairs: int = 3
    """Timed pairs."""
    tiny: bool = False
    """Toy sizes instead, for tests."""
    threads: int = 2
    """Cores to use."""
    json: bool = False
    """Print one JSON object."""


def measure_slic(settings: Slic) -> dict[str, Any]:
    """Seconds per volume of both, their ratios, and the fraction of voxels with equal labels."""
    cases = {"tiny": ((2, 4, 4), (4, 8, 8), 0.1)} if settings.tiny else CASES
    found = {name: measure_case(settings, *case) for name, case in cases.items()}
    job = found.get(JOB_CASE)
    return {
        "device": jax.devices()[0].device_kind,
        "threads": settings.threads,
        "cases": found,
        "job_seconds": JOB * median(job["ours"]) if job else None,
    }


def measure_case(
    settings: Slic, grid: tuple[int, ...], size: tuple[int, int, int], compactness: float
) -> dict[str, Any]:
    """One size."""
    rng = np.random.default_rng(0)
    channels = 4 if settings.tiny else 64
    shape = (settings.threads, settings.heads, *grid, channels)
    tokens = gaussian_filter(rng.normal(size=shape), (0, 0, 1, 2, 2, 0)).astype(np.float32)
    fine = [np.asarray(upsample(head, size)) for head in tokens[:, 0]]  # a volume for each process
    ours = partial(slic, compactness=compactness, size=size)
    theirs = partial(scikit_image, compactness=compactness)
    with (
        ThreadPoolExecutor(settings.threads) as threads,
        ProcessPoolExecutor(settings.threads, get_context("spawn")) as processes,
    ):
        labels = list(threads.map(ours, tokens))  # compiles
        expected = list(processes.map(theirs, fine))  # loads
        pairs = [
            (seconds(lambda: list(threads.map(ours, tokens))), seconds(lambda: list(processes.map(theirs, fine))))
            for _ in range(settings.pairs)
        ]
    ours_each = [a / (settings.threads * settings.heads) for a, _ in pairs]
    theirs_each = [b / settings.threads for _, b in pairs]
    return {
        "ours": ours_each,
        "scikit_image": theirs_each,
        "ratios": [b / a for a, b in zip(ours_each, theirs_each, strict=True)],
        "equal": float(np.mean([(a[0] == b).mean() for a, b in zip(labels, expected, strict=True)])),
    }


def scikit_image(volume: np.ndarray, compactness: float) -> np.ndarray:
    """Labels of one volume, as VTCD's released code calls it."""
    from skimage.segmentation import slic as supervoxels

    return supervoxels(
        volume, n_segments=12, compactness=compactness, spacing=(1, 1, 1), convert2lab=False, start_label=0
    )


def print_slic(r: dict[str, Any]) -> None:
    print(f"SLIC, 12 segments, {r['threads']} threads on {r['device']}; scikit-image in {r['threads']} processes")
    for name, case in r["cases"].items():
        a, b = median(case["ours"]), median(case["scikit_image"])
        ratios = ", ".join(f"{ratio:.1f}" for ratio in case["ratios"])
        print(f"  {name:20} {1 / a:8.3g} volumes per second, scikit-image {1 / b:.3g}")
        print(f"  {'':20} ratio {median(case['ratios']):.1f} (pair by pair: {ratios})")
        print(f"  {'':20} {case['equal']:.3%} of voxels equal")
    if r["job_seconds"] is not None:
        print(f"  30 clips x 144 heads {r['job_seconds']:8.3g} s")
