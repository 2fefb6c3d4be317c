"""Trials that run at the same time, in threads; results in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vtcd_jax.runs import Step, Work

TRIALS = Step("trials", "planted truth", "trial")
Result = TypeVar("Result")


def run_all(jobs: Sequence[Callable[[], Result]], workers: int, work: Work) -> list[Result]:
    """The results of all jobs, in order. After the first error no further job begins."""
    done: list[Result] = []
    work.progress(TRIALS, 0, len(jobs))
    with ThreadPoolExecutor(workers) as threads:
        futures = [threads.submit(job) for job in jobs]
        try:
            for future in futures:
                done.append(future.result())
                work.progress(TRIALS, len(done), len(jobs))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return done
