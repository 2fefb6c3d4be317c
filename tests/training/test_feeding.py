"""The order of clips, and the workers that make batches ahead of the step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.training.toy import batch
from vtcd_jax.models import InputError
from vtcd_jax.training import Batch, Epochs, Workers, epoch_indices, steps_per_epoch
from vtcd_jax.training.feeding import batches_ahead


def test_every_epoch_takes_each_clip_once_in_another_order():
    epochs = [np.concatenate([epoch_indices(12, 5, 3 * e + i, 4)[1] for i in range(3)]) for e in range(3)]
    assert all(sorted(order) == list(range(12)) for order in epochs)
    assert len({tuple(order) for order in epochs}) == 3
    assert [epoch_indices(12, 5, step, 4)[0] for step in range(7)] == [0, 0, 0, 1, 1, 1, 2]


def test_the_order_is_a_function_of_the_seed_and_the_step():
    assert np.array_equal(epoch_indices(50, 1, 9, 4)[1], epoch_indices(50, 1, 9, 4)[1])
    assert not np.array_equal(epoch_indices(50, 1, 9, 4)[1], epoch_indices(50, 2, 9, 4)[1])


def test_clips_that_fill_no_batch_are_left_out_or_make_a_small_one():
    assert steps_per_epoch(14, 4) == 3 and steps_per_epoch(14, 4, drop_last=False) == 4
    assert len(epoch_indices(14, 0, 3, 4, drop_last=False)[1]) == 2
    last_out = [set(range(14)) - {*np.ravel([epoch_indices(14, 0, 3 * e + i, 4)[1] for i in range(3)])} for e in (0, 1)]
    assert len(last_out[0]) == len(last_out[1]) == 2 and last_out[0] != last_out[1]
    with pytest.raises(InputError, match="3 clips give no whole batch of 4"):
        steps_per_epoch(3, 4)


def drawn(index: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"index": np.array(index), "draw": rng.random(2)}


def test_what_is_drawn_for_a_clip_depends_on_seed_epoch_and_clip_alone():
    """Not on the batch that it is in: other sizes of batch give each clip the same draws."""
    small, large = Epochs(12, drawn), Epochs(12, drawn)
    of_small = {int(i): d for s in range(4) for i, d in zip(*small(1, s, 3).clips.values(), strict=True)}
    of_large = {int(i): d for s in range(2) for i, d in zip(*large(1, s, 6).clips.values(), strict=True)}
    assert all(np.array_equal(of_small[i], of_large[i]) for i in range(12))
    other_epoch = {int(i): d for s in range(4, 8) for i, d in zip(*small(1, s, 3).clips.values(), strict=True)}
    assert not any(np.array_equal(of_small[i], other_epoch[i]) for i in range(12))


@pytest.mark.parametrize("workers", [Workers(1), Workers(3), Workers(2, "processes")])
def test_workers_change_neither_batches_nor_their_order(workers):
    with batches_ahead(batch, 3, 5, range(4, 11), workers) as batches:
        made = [ahead.clips["video"] for ahead in batches]
    assert len(made) == 7
    for step, video in zip(range(4, 11), made, strict=True):
        np.testing.assert_array_equal(video, batch(3, step, 5).clips["video"])


def test_batches_are_made_while_the_step_runs():
    """Two workers and 0.05 s a batch: once under way, a batch is there when it is asked for."""
    waits = []
    with batches_ahead(partial(batch, slow=0.05), 0, 4, range(8), Workers(2)) as batches:
        for _ in range(8):
            begun = time.perf_counter()
            next(batches)
            waits.append(time.perf_counter() - begun)
            time.sleep(0.1)
    assert np.median(waits[2:]) < 0.02


def failing(seed: int, step: int, size: int) -> Batch:
    if step == 2:
        raise InputError("clip_7.mp4: cannot be read; remove it")
    return batch(seed, step, size)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_what_a_worker_raises_comes_when_its_step_does(kind):
    with batches_ahead(failing, 0, 4, range(5), Workers(1, kind)) as batches:
        assert len([next(batches), next(batches)]) == 2
        with pytest.raises(InputError, match="clip_7.mp4: cannot be read"):
            next(batches)


def test_a_worker_that_is_killed_ends_the_training_with_a_line():
    with (
        batches_ahead(partial(batch, die_at=1), 0, 4, range(5), Workers(1, "processes")) as batches,
        pytest.raises(InputError, match="a worker process ended before its batch was made"),
    ):
        list(batches)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_workers_end_with_a_parent_that_is_killed(root):
    code = (
        "import multiprocessing, time\n"
        "from tests.training.toy import batch\n"
        "from vtcd_jax.training.feeding import Workers, batches_ahead\n"
        "if __name__ == '__main__':\n"
        "    with batches_ahead(batch, 0, 4, range(99), Workers(1, 'processes')) as batches:\n"
        "        next(batches)\n"
        "        print(*[child.pid for child in multiprocessing.active_children()], flush=True)\n"
        "        time.sleep(99)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    children = [int(number) for number in process.stdout.readline().split()]
    assert children and all(_alive(child) for child in children)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(child) for child in children)


def _alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
