"""A training of a few hundred parameters on random numbers that stand for clips, and a process that is killed in it.

python -m tests.training.toy FOLDER WHEN    kills itself: at "step 7", while "checkpoint 6" is written, or "never"
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vtcd_jax import training
from vtcd_jax.training import Batch, Optimizer, Rate, Task, TrainSettings

FEATURES, HIDDEN, CLASSES = 12, 16, 4
SETTINGS = TrainSettings(
    steps=18, batch=16, rate=Rate(0.02, warmup=3), optimizer=Optimizer(weight_decay=0.1), average=0.9, seed=3,
    evaluate_every=5, checkpoint_every=3,
)  # fmt: skip

SHORT = dataclasses.replace(SETTINGS, steps=8, evaluate_every=4, checkpoint_every=4)


def init(key: jax.Array) -> tuple[Any, Any]:
    first, second = jax.random.split(key)
    params = {
        "first": {"kernel": jax.random.normal(first, (FEATURES, HIDDEN)) / 3, "bias": jnp.zeros(HIDDEN)},
        "second": {"kernel": jax.random.normal(second, (HIDDEN, CLASSES)) / 4, "bias": jnp.zeros(CLASSES)},
    }
    return params, {"clips": jnp.zeros((), jnp.int32)}


def batch(seed: int, step: int, size: int, slow: float = 0.0, die_at: int | None = None) -> Batch:
    """Numbers whose class is that of the largest of their first four. die_at: the process kills itself there."""
    time.sleep(slow)
    if step == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    numbers = np.random.default_rng((seed, step)).normal(size=(size, FEATURES)).astype(np.float32)
    clips = {"video": numbers, "label": numbers[:, :CLASSES].argmax(-1).astype(np.int32)}
    return Batch(clips, {"shift": np.full(FEATURES, 0.01, np.float32)})


def outputs(params: Any, video: jax.Array) -> jax.Array:
    hidden = jnp.tanh(video @ params["first"]["kernel"] + params["first"]["bias"])
    return hidden @ params["second"]["kernel"] + params["second"]["bias"]


def loss(params: Any, state: Any, batch: Batch, step: jax.Array, keys: jax.Array) -> tuple[jax.Array, Any, Any]:
    """Cross-entropy with noise from each clip's key; the state counts clips."""
    video, label = batch.clips["video"], batch.clips["label"]
    noise = jax.vmap(lambda key: jax.random.normal(key, (FEATURES,)))(keys)
    logits = outputs(params, video + batch.shared["shift"] + 0.1 * noise.astype(video.dtype))
    value = -jax.nn.log_softmax(logits)[jnp.arange(len(label)), label].mean()
    return value, {"right": (logits.argmax(-1) == label).mean()}, {"clips": state["clips"] + len(label)}


def evaluate(params: Any, state: Any) -> dict[str, float]:
    held_out = batch(99, 0, 64).clips
    right = np.asarray(outputs(params, held_out["video"])).argmax(-1) == held_out["label"]
    return {"held_out": float(right.mean())}


TASK = Task({"name": "toy", "features": FEATURES}, init, batch, loss, evaluate)


def kill_when_written(folder: Path, step: str) -> None:
    """Kills this process as soon as a checkpoint's temporary folder holds a file."""
    while not any(path.is_file() for path in folder.glob(f"checkpoints/{step}.*/**/*")):
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, when: str) -> None:
    task = TASK
    if when.startswith("step "):
        task = dataclasses.replace(TASK, batch=partial(batch, die_at=int(when.removeprefix("step "))))
    elif when.startswith("checkpoint "):
        arguments = Path(folder), when.removeprefix("checkpoint ")
        threading.Thread(target=kill_when_written, args=arguments, daemon=True).start()
    training.fit(task, SETTINGS, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
