"""Kills a ranking again and again, and compares what it ends with to a ranking that was left alone.

    python scripts/kill_runs.py --kills 20 --seed 0 --toy-kills 5

Two runs begin with the same concepts. `vtcd rank` does one of them without interruption. In the other it is killed
(SIGKILL) at moments drawn at random from the whole of its duration: while it starts, in the middle of blocks of masks,
while it makes its tables, and while it writes them (on a disk made slow); each time it is called again. Between kills
every block on the disk must be whole. At the end all arrays and tables of the two runs must be equal, byte for byte,
and no block may have been computed twice; else the exit code is 1.

The same is then done to whole runs of the toy method of docs/adding_a_method.md, killed at any moment, with all files
compared: what holds for one job holds for all.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.cli.processes import differing, kill, ranked_blocks, results, start, wait_until  # noqa: E402
from tests.cli.tiny import tree  # noqa: E402
from vtcd_jax.runs import checksum, read_events  # noqa: E402

SETTINGS = ("--hold-out", "0", "--scores", "log_probability", "accuracy")
PHASES = ((0.1, "start"), (0.75, "blocks"), (0.9, "tables"), (1.0, "writing"))  # cumulative fractions of the kills
TABLES = ("importance.csv", "convergence.csv")


@dataclass(frozen=True)
class Times:
    """Of the ranking that was left alone, in seconds: until it opens its folder; of one block; from the last block to
    the end. blocks: their number."""

    start: float
    block: float
    tables: float
    blocks: int


def main() -> int:
    parser = argparse.ArgumentParser(description="Kills a ranking again and again, and compares what it ends with.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--toy-kills", type=int, default=5, help="kills of the toy method's run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--model", default="world-videomae")
    parser.add_argument("--clips", default="world:6")
    parser.add_argument("--masks", type=int, default=384)
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder, "cache"))  # who is killed shall not leave halves in the user's
        whole, killed = Path(folder, "whole"), Path(folder, "killed")
        job = (options.clips, "--model", options.model, "--masks", options.masks, *SETTINGS)
        finish("discover", *job, "--out", whole)
        shutil.copytree(whole, killed)
        times = rank_whole(whole)
        kept = kill_again_and_again(killed, options.kills, times, random.Random(options.seed))
        finish("rank", killed)
        twice = [path for path, changed in kept.items() if path.stat().st_mtime_ns != changed]
        wrong = differing(killed, whole)
        files = len(results(whole))
    print(f"{time.monotonic() - begun:.0f} s in all; blocks that were computed twice: {len(twice)}")
    print(f"{options.kills} kills, {files} files, {f'{len(wrong)} differ: {wrong}' if wrong else 'all bytes equal'}")
    return int(bool(wrong or twice) or not kill_toy(options.toy_kills, random.Random(options.seed)))


def kill_toy(kills: int, draws: random.Random) -> bool:
    """Whether a run of the toy method, killed so many times, ends with the bytes of one that was left alone."""
    with tempfile.TemporaryDirectory() as folder:
        toy, whole, killed = (Path(folder, name) for name in ("toy", "whole", "killed"))
        begun = time.monotonic()
        finish("brightness", 12, "--out", whole, disk=0.1, toy=toy)
        seconds, done = time.monotonic() - begun, 0
        while done < kills:
            process = start("brightness", 12, "--out", killed, "--resume", disk=0.1, toy=toy)
            time.sleep(draws.uniform(0.3, 1) * seconds)
            code, _, stderr = kill(process)
            if code and code != -signal.SIGKILL:
                sys.exit(f"vtcd brightness failed: {stderr}")
            done += code == -signal.SIGKILL
            if code == 0:  # it had ended before
                shutil.rmtree(killed)
        finish("brightness", 12, "--out", killed, "--resume", toy=toy)
        a, b = tree(whole), tree(killed)
        wrong = [name for name in {*a, *b} if a.get(name) != b.get(name)]
    print(f"toy: {kills} kills, {len(a)} files, {f'{len(wrong)} differ: {wrong}' if wrong else 'all bytes equal'}")
    return not wrong


def finish(*arguments: object, disk: float = 0, toy: Path | None = None) -> None:
    """Runs ``vtcd ARGUMENTS`` to its end."""
    process = start(*arguments, disk=disk, toy=toy)
    said = process.communicate()
    if process.returncode:
        sys.exit(f"vtcd {arguments[0]} failed: {said[1]}")


def rank_whole(run: Path) -> Times:
    """Ranks without interruption, and measures the time of its phases."""
    before, begun = len(read_events(run)), time.time()
    finish("rank", run)
    ended, events = time.time(), read_events(run)[before:]
    opened = events[0]["time"]
    (last,) = (e["time"] for e in events if e["kind"] == "progress" and e["stage"] == "rank" and e["masks"] == e["of"])
    first, *_ = sorted(path.stat().st_mtime for path in ranked_blocks(run))
    blocks = len(ranked_blocks(run))
    times = Times(opened - begun, (last - first) / (blocks - 1), ended - last, blocks)
    parts = f"{times.start:.1f} s to start, {blocks} blocks of {times.block:.2f} s, {times.tables:.1f} s for the tables"
    print(f"left alone: {parts}; {ended - begun:.1f} s in all", flush=True)
    return times


def kill_again_and_again(run: Path, kills: int, times: Times, draws: random.Random) -> dict[Path, int]:
    """Kills ``vtcd rank`` until so many kills came in time. Returns the blocks, with when they were written."""
    kept: dict[Path, int] = {}
    done = 0
    while done < kills:
        phase = next(name for fraction, name in PHASES if done < fraction * kills)
        moment = MOMENTS[phase](run, times, draws, done / kills)
        begun, process = time.monotonic(), start("rank", run, disk=0.3 if phase == "writing" else 0)
        wait_until(process, moment)
        code, _, said = kill(process)
        if code != -signal.SIGKILL:
            if code:
                sys.exit(f"vtcd rank failed: {said}")
            continue  # it had ended before
        done += 1
        kept |= {path: path.stat().st_mtime_ns for path in ranked_blocks(run) if path not in kept}
        check_blocks(kept)
        seconds, left = time.monotonic() - begun, sorted(path.name for path in run.rglob(".*.part"))
        there = f"{len(kept)} of {times.blocks} blocks; half-written: {', '.join(left) or 'nothing'}"
        print(f"kill {done:2} ({phase:7}): after {seconds:4.1f} s, {there}", flush=True)
    return kept


Moment = Callable[[], bool]


def while_starting(run: Path, times: Times, draws: random.Random, fraction: float) -> Moment:
    return _after(lambda: True, draws.random() * times.start)


def between_blocks(run: Path, times: Times, draws: random.Random, fraction: float) -> Moment:
    """Later blocks from kill to kill, and at any moment of a block."""
    first, last = PHASES[0][0], PHASES[1][0]
    minimum = round((fraction - first) / (last - first) * 0.95 * times.blocks)
    opened = _opened(run)
    return _after(lambda: opened() and len(ranked_blocks(run)) >= minimum, draws.random() * times.block)


def while_tables_are_made(run: Path, times: Times, draws: random.Random, fraction: float) -> Moment:
    opened = _opened(run)
    return _after(lambda: opened() and len(ranked_blocks(run)) == times.blocks, draws.random() * times.tables)


def while_tables_are_written(run: Path, times: Times, draws: random.Random, fraction: float) -> Moment:
    name, left = draws.choice(TABLES), set(run.glob(".*.part"))
    return lambda: bool(set(run.glob(f".{name}.*.part")) - left)


MOMENTS = dict(zip((name for _, name in PHASES), (
    while_starting, between_blocks, while_tables_are_made, while_tables_are_written
), strict=True))  # fmt: skip


def _opened(run: Path) -> Moment:
    """Whether a process has opened the run since."""
    before = len(read_events(run))
    return lambda: len(read_events(run)) > before


def _after(there: Moment, seconds: float) -> Moment:
    """So many seconds after ``there()`` came true."""
    reached: list[float] = []

    def now() -> bool:
        if not reached and there():
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() - reached[0] >= seconds

    return now


def check_blocks(blocks: dict[Path, int]) -> None:
    """Every block on the disk is whole."""
    from safetensors import safe_open

    for path in blocks:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
            if checksum(arrays) != file.metadata()["checksum"]:
                sys.exit(f"{path.name} is damaged")


if __name__ == "__main__":
    sys.exit(main())
