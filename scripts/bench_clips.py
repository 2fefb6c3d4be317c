"""Peak memory of ``vtcd discover`` and ``vtcd rank`` over more and more clips (docs/scaling.md).

    python scripts/bench_clips.py --clips 10 100 1000

A network of one block with random weights takes clips of 16 x 224 x 224. The clips are mp4 files, each of another
content. Every command runs in a process of its own, which says at its end how much memory it has held at most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np

from vtcd_jax.data import write_video
from vtcd_jax.models import build, save
from vtcd_jax.models.families.videomae import VideoMAEConfig

CONFIG = VideoMAEConfig(
    image_size=224, patch_size=16, num_frames=16, width=32, depth=1, num_heads=2, mlp_ratio=1, num_classes=5
)
SETTINGS = (
    "--hold-out 0 --sampling.kind uniform --slic.resolution token --slic.n-segments 6 --nmf.elbow.rule fixed "
    "--nmf.elbow.number 3 --nmf.restarts 1 --nmf.max-steps 20 --nmf.refits 0 --masks 4 --target 0"
)
# As ``vtcd``, and then the most memory that the process has held, in KiB, on Linux.
COMMAND = """
import resource, sys
from vtcd_jax.cli import main
code = main(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def write_clips(folder: Path, first: int, last: int) -> None:
    """Videos number ``first`` to ``last``: 16 frames of a smooth pattern that moves."""
    y, x = np.mgrid[:224, :224] / 224
    for number in range(first, last):
        rng = np.random.default_rng(number)
        a, b, speed = rng.uniform(2, 12, (3, 3))
        waves = [np.sin(a * x[..., None] + b * y[..., None] + speed * t / 16) for t in range(16)]
        write_video(folder / f"{number:05d}.mp4", (127.5 + 127 * np.stack(waves)).astype(np.uint8))


def measure(*arguments: str) -> tuple[float, float]:
    """(GiB at the peak, seconds) of ``vtcd`` with these arguments."""
    begun = time.perf_counter()
    root = str(Path(__file__).resolve().parent.parent)
    ran = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], cwd=root, env=os.environ | {"PYTHONPATH": root},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    peak = next(line for line in ran.stdout.splitlines() if line.startswith("PEAK"))
    return int(peak.split()[1]) / 2**20, time.perf_counter() - begun


def main() -> None:
    """Prints a row of the table as each number of clips is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10, 100, 1000], help="numbers of clips, ascending")
    parser.add_argument("--folder", type=Path, help="where clips and runs go, and stay (about 60 kB a clip)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        (folder / "clips").mkdir(parents=True)
        model = build(CONFIG, key=jax.random.key(0), labels=tuple("abcde"))
        save(model, folder / "model", manifest={"source": "random weights"})
        print("| clips | pixels | `vtcd discover` | `vtcd rank` |\n|---|---|---|---|", flush=True)
        for before, count in pairwise([0, *options.clips]):
            write_clips(folder / "clips", before, count)
            run = folder / f"run-{count}"
            arguments = (str(folder / "clips"), "--model", str(folder / "model"), "--out", str(run))
            parts = [measure("discover", *arguments, *SETTINGS.split()), measure("rank", str(run))]
            pixels = count * 16 * 224 * 224 * 3 / 2**30
            cells = " | ".join(f"{peak:.2f} GiB, {seconds:.0f} s" for peak, seconds in parts)
            print(f"| {count:,} | {pixels:.2f} GiB | {cells} |", flush=True)


if __name__ == "__main__":
    main()
