"""Damages thousands of files that `vtcd convert` reads, and reports the results.

    python scripts/fuzz_converters.py --files 2000 --seed 0

Checkpoints of every family in every container, Hugging Face folders, settings, class names and recorded values are
mutated and cut. Each must end in a conversion or in an ``InputError``: never in another exception, a hang, or a memory
spike. Files that do not are kept in the folder ``fuzz-failures``; then the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FAILURES = Path("fuzz-failures")
MAX_SECONDS = 20
MAX_GROWTH = 128 * 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description="Damages files that `vtcd convert` reads, and reports the results.")
    parser.add_argument("--files", type=int, default=2000, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.path.insert(0, str(ROOT))
    import numpy as np

    from tests.converters.files.mutations import mutate, subjects, truncations

    rng = np.random.default_rng(options.seed)
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        found = subjects(ROOT / "tests" / "golden", Path(folder))
        whole = [subject.path.read_bytes() for subject in found]
        cuts = [(i, data) for i in range(len(found)) for data in truncations(whole[i])]
        rng.shuffle(cuts)
        jobs = cuts[: options.files // 4]
        jobs += [
            (i, mutate(whole[i], rng, found[i].structured))
            for i in (n % len(found) for n in range(options.files - len(jobs)))
        ]
        return _run(found, whole, jobs)


def _run(found: list, whole: list[bytes], jobs: list[tuple[int, bytes]]) -> int:
    from tests.converters.files.mutations import fate

    outcomes: dict[str, Counter] = {subject.name: Counter() for subject in found}
    slowest, largest, failures = (0.0, ""), (0, ""), 0
    for number, (i, data) in enumerate(jobs):
        result = fate(found[i], data)
        found[i].path.write_bytes(whole[i])
        outcomes[found[i].name][result.outcome] += 1
        slowest = max(slowest, (result.seconds, found[i].name))
        largest = max(largest, (result.peak_bytes, found[i].name))
        good = result.outcome in ("accepted", "refused")
        if not good or result.seconds > MAX_SECONDS or result.peak_bytes > MAX_GROWTH:
            failures += 1
            FAILURES.mkdir(exist_ok=True)
            kept = FAILURES / f"{number}-{found[i].name.replace('/', '-')}"
            kept.write_bytes(data)
            print(f"{kept}: {result.outcome}, {result.seconds:.1f} s, {result.peak_bytes / 2**20:.0f} MiB", flush=True)
    for name, counts in outcomes.items():
        print(f"{name:<48} {counts['refused']:>5} refused {counts['accepted']:>5} accepted")
    total = sum(outcomes.values(), Counter())
    print(f"{len(jobs)} files: {total['refused']} refused, {total['accepted']} accepted, {failures} failed")
    print(f"slowest {slowest[0]:.2f} s ({slowest[1]}); largest growth {largest[0] / 2**20:.1f} MiB ({largest[1]})")
    print(f"peak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
