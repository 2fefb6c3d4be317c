"""The command in processes of its own, which can be watched, interrupted and killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have switched it off for what it runs behind
flush = os.fsync
os.fsync = lambda descriptor: (time.sleep(float(sys.argv[1])), flush(descriptor))
if sys.argv[2]:  # the toy method of the tests
    from pathlib import Path
    from tests.jobs.toy import install
    install(Path(sys.argv[2]))
from vtcd_jax.cli import main
sys.exit(main(sys.argv[3:]))
"""


def start(*arguments: object, disk: float = 0, toy: Path | None = None) -> subprocess.Popen[str]:
    """``vtcd ARGUMENTS``, running, on a disk that takes ``disk`` seconds more for each file.

    toy: a folder for the files of the tests' toy method, which the process then knows.
    """
    command = [sys.executable, "-c", PROGRAM, str(disk), str(toy or ""), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(process: subprocess.Popen[str], there: Callable[[], bool], *, seconds: float = 300) -> bool:
    """Whether ``there()`` came true before the process ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if there():
            return True
        if process.poll() is not None:
            return there()
        time.sleep(0.001)
    raise TimeoutError(f"nothing happened in {seconds} s")


def kill(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """SIGKILL; exit code (negative where the signal came in time), standard output and standard error."""
    process.kill()
    out, err = process.communicate()
    return process.returncode, out, err


def ranked_blocks(run: Path) -> list[Path]:
    """Finished blocks of the ranking."""
    return sorted((run / "scores" / "rank").glob("*.safetensors"))


def results(folder: Path) -> dict[str, bytes]:
    """Arrays and tables of a run, but for its shards."""
    files = (p for kind in ("*.safetensors", "*.csv") for p in folder.rglob(kind))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files if "shards" not in p.parts}


def differing(found: Path, expected: Path) -> list[str]:
    """Names of arrays and tables that only one of two runs has, or that hold other bytes."""
    a, b = results(found), results(expected)
    return sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
